"""Trains the codec: audio → encoder → residual quantiser → decoder → audio.

    python codec.py OUT --plan gpu [--seed 1] [--stop MINUTES] [--resume]

Writes OUT/codec.pt every two minutes and at the end, and a line of held-out figures each time.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import torch
from transformers import EncodecModel
from transformers.models.encodec.modeling_encodec import EncodecConv1d

import data
import losses
import model
from plan import PLANS
from quantizer import Quantizer
from replay import Replayed, adamw
from schedule import Schedule
from synth import RATE

REPORT = 120  # seconds between reports
WARM = 100  # steps in which the learning rate rises
PLAIN = 20  # first steps, without quantisation


def half(audio):
    """bfloat16 on a GPU. On the processor torch 2.11's gradients of convolutions in bfloat16 are wrong: by their own size."""
    return torch.autocast(audio.device.type, torch.bfloat16, enabled=audio.is_cuda)


def count_on_host(codec):
    """The sizes of transformers' convolutions are buffers, and with those on a GPU each convolution waits for it to know its padding."""
    for conv in (m for m in codec.modules() if isinstance(m, EncodecConv1d)):
        for name in ("stride", "kernel_size", "padding_total"):
            size = int(conv._buffers.pop(name))
            setattr(conv, name, torch.tensor(size, device="cpu"))


class Codec(torch.nn.Module):
    def __init__(self, plan):
        super().__init__()
        whole = EncodecModel(model.codec_config(plan))
        self.encoder, self.decoder = whole.encoder, whole.decoder
        count_on_host(self)
        self.quantizer = Quantizer(model.CODEBOOKS, plan.entries, plan.latent)

    def forward(self, audio):
        """[B, 1, n] → the same, codes [B, Q, T], commitment loss."""
        with half(audio):
            z = self.encoder(audio)
        z, codes, loss = self.quantizer(z.float())
        with half(audio):
            made = self.decoder(z)
        return made.float(), codes, loss

    @torch.no_grad()
    def encode(self, audio):
        """Codes [B, Q, T] of audio [B, n]."""
        with half(audio):
            z = self.encoder(audio[:, None])
        return self.quantizer(z.float())[1]

    @torch.no_grad()
    def decode(self, codes):
        return self.decoder(self.quantizer.decode(codes))[:, 0]


@torch.no_grad()
def judge(codec, spectra, audio):
    """Held-out figures."""
    codec.eval()
    made, codes, _ = codec(audio)
    codec.train()
    if codes is None:
        return {}
    used = [len(codes[:, q].unique()) for q in range(codes.shape[1])]
    mel = (spectra.log_mel(made) - spectra.log_mel(audio)).abs().mean().item()
    return {
        "si_sdr": round(losses.si_sdr(made[:, 0], audio[:, 0]), 2), "log_mel": round(mel, 3), "attacks": round(spectra.attacks(made, audio), 3),
        "in_tune": round(spectra.in_tune(made, audio), 3), "codes_used": used,
    }


def train(o):
    plan, device = PLANS[o.plan], model.device()
    stage = plan.codec
    torch.manual_seed(o.seed)
    torch.set_float32_matmul_precision("high")  # TF32, where there is such a thing
    codec, spectra = Codec(plan).to(device), losses.Spectra().to(device)
    held = data.held_out(device, 24, 4.0)[0][:, None]
    schedule, first, path = Schedule(stage, WARM, stop=o.stop), 0, o.out / "codec.pt"
    optimizer = adamw(codec.parameters(), schedule.rate(device), betas=(0.8, 0.99), weight_decay=1e-4)
    if o.resume:
        state = model.load(path, device)
        codec.load_state_dict(state["codec"])
        optimizer.load_state_dict(state["optimizer"])
        schedule, first = Schedule(stage, WARM, state["step"], state["spent"], o.stop), state["seed"]
    if not schedule.running():
        return
    store, random = data.audio_store(device, stage, first), np.random.default_rng([o.seed, first])
    print(f"codec: {model.parameters(codec) / 1e6:.2f} M parameters, {store.at} windows after {schedule.spent - schedule.before:.0f} s", flush=True)
    schedule.start()

    def batch():
        return store.batch(stage.batch, int(stage.seconds * RATE), random)[0].float()[:, None]

    def keep():
        figures = judge(codec, spectra, held) | {"step": schedule.step, "spent": round(schedule.spent), "seed": store.seed, "windows": store.at}
        print(json.dumps(figures), flush=True)
        model.save(path, codec=codec.state_dict(), optimizer=optimizer.state_dict(), **figures)

    def learn(audio):
        step(codec, spectra, optimizer, audio)

    due, replayed = schedule.spent + REPORT, Replayed(learn)
    while schedule.running():
        schedule.advance(optimizer)
        (replayed if codec.quantizer.begun else learn)(batch())
        if schedule.step == PLAIN:
            codec.quantizer.begin(latents(codec, batch))
        if schedule.step % stage.every == 0:
            store.refresh()
        if schedule.spent > due:
            due = schedule.spent + REPORT
            keep()
    keep()
    store.music.close()


@torch.no_grad()
def latents(codec, batch):
    """Encoder outputs [n, D, T] of a few batches."""
    return torch.cat([codec.encoder(batch()) for _ in range(30)])


def step(codec, spectra, optimizer, audio):
    made, _, commitment = codec(audio)
    loss = spectra(made, audio) + 0.25 * commitment
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
    optimizer.step()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--plan", choices=PLANS, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--resume", action="store_true", help="go on from OUT/codec.pt")
    p.add_argument("--stop", type=float, default=math.inf, help="minutes after which this run stops; resume it later")
    train(p.parse_args())


if __name__ == "__main__":
    main()
