"""Draws log-mel spectrograms of WAV files above one another, on one scale.

    python picture.py OUT.png A.wav B.wav …
"""

import argparse

import numpy as np
import torch
import torchaudio
from PIL import Image

import compose
from synth import RATE


def strip(audio, height=140, width=1400):
    """[height, width] of grey levels: -90 to -10 dB."""
    hop = max(64, len(audio) // width)
    mel = torchaudio.transforms.MelSpectrogram(RATE, n_fft=2048, hop_length=hop, n_mels=height, power=1)(audio)
    grey = (20 * torch.log10(mel / 256 + 1e-6) + 90) / 80
    return (grey.clamp(0, 1) * 255).byte().flip(0)[:, :width].numpy()


def draw(path, waves):
    rows = [strip(w) for w in waves]
    width = max(r.shape[1] for r in rows)
    rows = [np.pad(r, ((0, 4), (0, width - r.shape[1])), constant_values=255) for r in rows]
    Image.fromarray(np.concatenate(rows)).save(path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("files", nargs="+")
    o = p.parse_args()
    draw(o.out, [compose.read_wav(f) for f in o.files])


if __name__ == "__main__":
    main()
