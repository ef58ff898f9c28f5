"""Trains the decoder and the text encoder on codes of composed music.

    python language.py OUT --plan gpu [--seed 1] [--stop MINUTES] [--resume]

Needs OUT/codec.pt and OUT/tokenizer.json. Music is composed, encoded and described while training; the weights kept in
OUT/language.pt are those with the lowest held-out loss, those to go on from in OUT/language-last.pt.

Semantics are MusicGen's: the delay pattern with the special token before and after, cross-attention to the text's
states, and for a part of the rows no text (all conditions zero), so that guidance has something to lead away from.
"""

import argparse
import json
import math
import pathlib
import re

import numpy as np
import torch
from tokenizers import Tokenizer

import data
import decoder
import describe
import model
from codec import Codec
from muon import Muon
from plan import FRAMES, PLANS, WINDOW
from replay import Replayed, adamw
from schedule import Schedule

WARM = 300  # steps in which the learning rate rises
NO_TEXT = 0.35  # share of rows: many who let a loop go on say nothing
REPORT = 120  # seconds between reports
HELD = 64  # held-out windows, of which a batch is a part
LAYER = re.compile(r"\.(layers|block)\.\d+\.(?!.*relative_attention_bias)")  # names of what lies in a layer of decoder or text encoder
CODEBOOKS = (0.4, 0.25, 0.2, 0.15)  # weights of their losses: the first carries most of what is heard
LONGEST = 32  # pieces of a description; all are filled up to it, so that shapes stay


class AsCodes:
    """Audio as the codec's codes."""

    def __init__(self, plan, path):
        self.plan, self.path = plan, str(path)

    def on(self, device):
        codec = trained_codec(self.plan, self.path, device)
        return lambda audio: codec.encode(audio).short().cpu().numpy()  # together: the LSTM takes as long for one window as for many


def trained_codec(plan, path, device):
    codec = Codec(plan).to(device).eval()
    codec.load_state_dict(model.load(path, device)["codec"])
    return codec


def delayed(codes, special):
    """[B, Q, T] → [B, Q, T + Q]: a special column first, codebook q shifted right by q."""
    rows, books, frames = codes.shape
    grid = torch.full((rows, books, frames + books), special, device=codes.device)
    for q in range(books):
        grid[:, q, 1 + q : 1 + q + frames] = codes[:, q]
    return grid


class Language:
    """The trained parts of the whole model, and the text they read."""

    def __init__(self, net, tokenizer, device):
        self.net, self.device, self.special = net, device, net.config.decoder.pad_token_id
        self.tokenizer = tokenizer
        tokenizer.enable_padding(pad_id=0, pad_token="<pad>", length=LONGEST)
        tokenizer.enable_truncation(LONGEST)
        self.parts = torch.nn.ModuleList([net.text_encoder, net.enc_to_dec_proj, net.decoder])
        self.losses = torch.compile(decoder.losses, dynamic=False) if device == "cuda" else decoder.losses

    def read(self, texts):
        """Pieces [B, L] of texts, and their mask."""
        encoded = self.tokenizer.encode_batch(texts)
        return [data.sent(np.array([getattr(e, field) for e in encoded]), self.device) for field in ("ids", "attention_mask")]

    def condition(self, ids, mask, keep):
        """States [B, L, D], zero where keep is false, and their mask."""
        states = self.net.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        states = self.net.enc_to_dec_proj(states) * (mask * keep[:, None])[..., None]
        return states, (mask > 0) | ~keep[:, None]

    def loss(self, codes, ids, mask, keep):
        """Cross entropy [Q] in nats."""
        grid = delayed(codes, self.special)[:, :, :-1].contiguous()
        with torch.autocast(self.device, torch.bfloat16):
            states, mask = self.condition(ids, mask, keep)
            return self.losses(self.net.decoder, grid, states, mask, codes)


def weighted(losses):
    return sum(weight * loss for weight, loss in zip(CODEBOOKS, losses, strict=True))


@torch.no_grad()
def judge(language, codes, texts, batch):
    keep = torch.ones(batch, dtype=torch.bool, device=language.device)
    every = [language.loss(codes[i : i + batch], *language.read(texts[i : i + batch]), keep) for i in range(0, len(codes), batch)]
    return torch.stack(every).mean(0)


def optimizers(parts, rate):
    """Muon for the matrices of the layers, AdamW for embeddings, heads and vectors."""
    trained = {name: p for name, p in parts.named_parameters() if p.requires_grad}
    matrices = [name for name, p in trained.items() if p.dim() == 2 and LAYER.search(name)]
    others = [p for name, p in trained.items() if name not in matrices]
    return [
        Muon([trained[name] for name in matrices], rate),
        adamw(others, rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(o):
    plan, device = PLANS[o.plan], model.device()
    stage, frames = plan.language, int(plan.language.seconds * FRAMES)
    codec = trained_codec(plan, o.out / "codec.pt", device)
    torch.set_float32_matmul_precision("high")
    net = model.build(plan, o.seed).to(device)
    language = Language(net, Tokenizer.from_file(str(o.out / "tokenizer.json")), device)
    schedule, first, best = Schedule(stage, WARM, stop=o.stop), 0, float("inf")
    steppers = optimizers(language.parts, schedule.rate(device))
    if o.resume:
        state = latest(o.out, device)
        language.parts.load_state_dict(state["parts"])
        for stepper, kept in zip(steppers, state.get("optimizers", [])):
            stepper.load_state_dict(kept)
        schedule, first, best = Schedule(stage, WARM, state["step"], state["spent"], o.stop), state["seed"], state["best"]
    if not schedule.running():
        return
    audio, pieces = data.held_out(device, HELD, stage.seconds)
    held = torch.cat([codec.encode(a) for a in audio.split(stage.fresh)])
    held_texts = [describe.describe(describe.facts(p), np.random.default_rng([p.seed, 2])) for p in pieces]
    music = data.source(device, stage.fresh, first, AsCodes(plan, o.out / "codec.pt"))
    store = data.Store(music, stage.pool, (model.CODEBOOKS, int(WINDOW * FRAMES)), torch.int16, device)
    random = np.random.default_rng([o.seed, first])
    print(f"language: {model.parameters(language.parts) / 1e6:.2f} M parameters, {store.at} windows after {schedule.spent - schedule.before:.0f} s", flush=True)
    schedule.start()

    def keep(best):
        losses = judge(language, held, held_texts, stage.batch)
        figures = {"step": schedule.step, "spent": round(schedule.spent), "seed": store.seed, "windows": store.at}
        print(json.dumps(figures | {"held_out": [round(x, 3) for x in losses.tolist()]}), flush=True)
        if weighted(losses).item() < best:
            best = weighted(losses).item()
            model.save(o.out / "language.pt", parts=language.parts.state_dict(), best=best, losses=losses.tolist(), **figures)
        model.save(o.out / "language-last.pt", parts=language.parts.state_dict(), optimizers=[s.state_dict() for s in steppers], best=best, **figures)
        return best

    replayed = Replayed(lambda *batch: step(language, steppers, *batch))
    due = schedule.spent + REPORT
    while schedule.running():
        schedule.advance(*steppers)
        codes, facts = store.batch(stage.batch, frames, random)
        texts = [describe.describe(f, random) for f in facts]
        replayed(codes.long(), *language.read(texts), data.sent(random.random(len(texts)) >= NO_TEXT, device))
        if schedule.step % stage.every == 0:
            store.refresh()
        if schedule.spent > due:
            due, best = schedule.spent + REPORT, keep(best)
    keep(best)
    music.close()


def latest(folder, device):
    """What to go on from: the last step, or the best weights if only they were kept (the optimiser then begins afresh)."""
    last = folder / "language-last.pt"
    return model.load(last if last.exists() else folder / "language.pt", device)


def step(language, steppers, codes, ids, mask, keep):
    loss = weighted(language.loss(codes, ids, mask, keep))
    language.parts.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(language.parts.parameters(), 1.0)
    for stepper in steppers:
        stepper.step()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--plan", choices=PLANS, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--resume", action="store_true", help="go on from OUT/language-last.pt, or else OUT/language.pt")
    p.add_argument("--stop", type=float, default=math.inf, help="minutes after which this run stops; resume it later")
    train(p.parse_args())


if __name__ == "__main__":
    main()
