"""Makes the codec's decoder sound real: goes on training it against discriminators, with encoder and codebooks as they are.

    python polish.py OUT --plan gpu [--seed 1] [--resume]

Trained by distances of spectra alone, the decoder makes one grain of treble and repeats it in every frame: a buzz of
50 Hz where there should be noise. No distance of mel bands sees that; a discriminator does at once. Codes keep their
meaning, so a decoder trained on them is not touched. Reads and rewrites
OUT/codec.pt; OUT/polish.json has the figures at the end.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import data
import losses
import model
from codec import Codec, half
from plan import PLANS
from replay import Replayed, adamw
from schedule import Schedule
from synth import RATE

WARM = 50  # steps in which the learning rates rise
REPORT = 60  # seconds between reports
WINDOWS = (2048, 1024, 512, 256)
ADVERSARIAL, FEATURES = 1.0, 2.0  # weights beside the distances' 1


class Discriminator(nn.Module):
    """Tells from the complex spectra of one window length whether audio is real: features of each layer, and scores."""

    def __init__(self, window, channels=32):
        super().__init__()
        self.window = window
        self.register_buffer("shape", torch.hann_window(window), persistent=False)
        layers = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        for d in (1, 2, 4):
            layers.append(nn.Conv2d(channels, channels, (3, 9), stride=(1, 2), dilation=(d, 1), padding=(d, 4)))
        layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.score = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, audio):
        """audio [B, n] → list of features [B, C, T, F], scores [B, 1, T, F]"""
        spectrum = torch.stft(audio, self.window, self.window // 4, window=self.shape, normalized=True, return_complex=True)
        x, features = torch.view_as_real(spectrum).permute(0, 3, 2, 1), []
        with half(audio):
            for layer in self.layers:
                x = F.leaky_relu(layer(x), 0.2)
                features.append(x)
            return features, self.score(x).float()


def discriminate(judges, real, made):
    """Hinge loss of the discriminators."""
    return sum(F.relu(1 - j(real)[1]).mean() + F.relu(1 + j(made)[1]).mean() for j in judges) / len(judges)


def persuade(judges, real, made):
    """Hinge loss of the decoder, and how far its features are from the real ones'."""
    adversarial, distance = 0.0, 0.0
    for j in judges:
        with torch.no_grad():
            wanted, _ = j(real)
        got, score = j(made)
        adversarial = adversarial - score.mean()
        distance = distance + sum((g.float() - w.float()).abs().mean() / w.float().abs().mean() for g, w in zip(got, wanted)) / len(got)
    return adversarial / len(judges), distance / len(judges)


@torch.no_grad()
def quantised(codec, audio):
    """What the decoder is given for audio [B, 1, n]."""
    with half(audio):
        z = codec.encoder(audio)
    return codec.quantizer(z.float())[0]


def decoded(codec, z):
    with half(z):
        made = codec.decoder(z)
    return made.float()


@torch.no_grad()
def judge(codec, spectra, audio):
    """Held-out figures; buzz beside the truth's."""
    made = decoded(codec, quantised(codec, audio))
    mel = (spectra.log_mel(made) - spectra.log_mel(audio)).abs().mean().item()
    return {
        "si_sdr": round(losses.si_sdr(made[:, 0], audio[:, 0]), 2), "log_mel": round(mel, 3), "attacks": round(spectra.attacks(made, audio), 3),
        "in_tune": round(spectra.in_tune(made, audio), 3), "buzz": [round(losses.buzz(x[:, 0]), 3) for x in (made, audio)],
    }


def train(o):
    plan, device, path = PLANS[o.plan], model.device(), o.out / "codec.pt"
    stage = plan.polish
    torch.manual_seed(o.seed)
    torch.set_float32_matmul_precision("high")
    state = model.load(path, device)
    codec, spectra = Codec(plan).to(device), losses.Spectra().to(device)
    codec.load_state_dict(state["codec"])
    codec.eval()
    judges = nn.ModuleList(Discriminator(w) for w in WINDOWS).to(device)
    schedule, before = Schedule(stage, WARM), state.get("polished", {"seed": state["seed"]})
    player, jury = (adamw(m.parameters(), schedule.rate(device), betas=(0.5, 0.9)) for m in (codec.decoder, judges))
    if o.resume and "judges" in state:
        judges.load_state_dict(state["judges"])
    held = data.held_out(device, 24, 4.0)[0][:, None]
    store, random = data.audio_store(device, stage, before["seed"]), np.random.default_rng([o.seed, before["seed"]])
    print(json.dumps(judge(codec, spectra, held)), flush=True)
    codec.decoder.train()  # cuDNN's LSTM wants it for gradients
    schedule.start()

    def keep():
        figures = judge(codec, spectra, held) | {"step": schedule.step, "spent": round(schedule.spent), "seed": store.seed}
        print(json.dumps(figures), flush=True)
        model.save(path, **state | {"codec": codec.state_dict(), "judges": judges.state_dict(), "polished": figures})

    replayed = Replayed(lambda audio: step(codec, judges, spectra, player, jury, audio))
    due = schedule.spent + REPORT
    while schedule.running():
        schedule.advance(player, jury)
        audio = store.batch(stage.batch, int(stage.seconds * RATE), random)[0].float()[:, None]
        replayed(audio)
        if schedule.step % stage.every == 0:
            store.refresh()
        if schedule.spent > due:
            due = schedule.spent + REPORT
            keep()
    keep()
    (o.out / "polish.json").write_text(json.dumps(judge(codec, spectra, held)) + "\n")
    store.music.close()


def step(codec, judges, spectra, player, jury, audio):
    made, real = decoded(codec, quantised(codec, audio)), audio[:, 0]
    take(jury, discriminate(judges, real, made[:, 0].detach()), judges)
    adversarial, features = persuade(judges, real, made[:, 0])
    take(player, spectra(made, audio) + ADVERSARIAL * adversarial + FEATURES * features, codec.decoder)


def take(optimizer, loss, module):
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--plan", choices=PLANS, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--resume", action="store_true", help="with the discriminators of an earlier run")
    train(p.parse_args())


if __name__ == "__main__":
    main()
