"""Composes music by seed: audio and what is true of it.

    python compose.py OUT --seeds 0:8 --seconds 10      # writes OUT/<seed>.wav and OUT/pieces.json

Seeds below HELD_OUT are for training; the rest are never trained on.
"""

import argparse
import json
import pathlib
import wave

import numpy as np
import torch

import describe
import effects
import piece
import synth

HELD_OUT = 1 << 30


def window(seed, seconds, aligned):
    """(piece, score) of a seed. The window begins on a bar of the loop if aligned, else anywhere in eight bars."""
    made = piece.compose(seed)
    begin = 0.0 if aligned else float(np.random.default_rng([seed, 1]).uniform(0, 2 * piece.LOOP * piece.STEPS * made.step))
    return made, piece.score(made, begin, seconds)


@torch.no_grad()
def render(machine, windows, seconds):
    """Audio [B, samples] of windows made by window()."""
    pieces, scores = zip(*windows)
    return effects.mixdown(machine(pieces, scores, seconds), pieces, scores, machine.noise)


def compose(machine, seeds, seconds, aligned=False):
    windows = [window(int(s), seconds, aligned) for s in seeds]
    return render(machine, windows, seconds), [p for p, _ in windows]


def write_wav(path, samples):
    """16 bits, mono, rounded to nearest."""
    data = (samples.clamp(-1, 1) * 32767).round().short().cpu().numpy()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(synth.RATE)
        file.writeframes(data.tobytes())


def read_wav(path):
    """[samples] of a 16-bit file; its first channel."""
    with wave.open(str(path)) as file:
        if file.getframerate() != synth.RATE or file.getsampwidth() != 2:
            raise ValueError(f"{path}: got {file.getframerate()} Hz, {8 * file.getsampwidth()} bits, want {synth.RATE} Hz, 16 bits")
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return torch.from_numpy(data[:: file.getnchannels()].astype(np.float32) / 32768)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--seeds", default="0:8", help="first:last+1; add H to count from the held-out seeds, as in H0:8")
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--bars", type=int, help="whole bars instead of seconds: the clip loops")
    p.add_argument("--anywhere", action="store_true", help="begin anywhere, not on the first beat of the loop")
    o = p.parse_args()
    first, last = map(int, o.seeds.lstrip("H").split(":"))
    base = HELD_OUT if o.seeds.startswith("H") else 0
    o.out.mkdir(parents=True, exist_ok=True)
    facts = {}
    for seed in range(base + first, base + last):
        seconds = o.bars * piece.STEPS * piece.compose(seed).step if o.bars else o.seconds
        audio, (made,) = compose(synth.Synth(), [seed], seconds, aligned=not o.anywhere)
        write_wav(o.out / f"{seed}.wav", audio[0])
        truth = describe.facts(made)
        facts[seed] = {"text": describe.describe(truth, np.random.default_rng([seed, 2])), **truth}
    (o.out / "pieces.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
