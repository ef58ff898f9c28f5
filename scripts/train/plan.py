"""Sizes and budgets of a training: "gpu" for one or two NVIDIA H100, "cpu" for a processor with a few idle cores, "smoke" to see
within minutes that every step still runs (what it makes is noise).

A stage ends after its steps or its minutes, whichever comes first; the learning rate falls over the same course.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    steps: int
    minutes: float
    batch: int
    seconds: float  # of audio in one row
    rate: float  # highest learning rate
    pool: int  # windows of music held ready
    fresh: int  # windows replaced at a time
    every: int  # steps between replacements


@dataclass(frozen=True)
class Plan:
    filters: int  # codec channels at the audio's rate
    latent: int  # width of a codebook's row
    entries: int
    width: int  # of the decoder
    layers: int
    heads: int
    text_width: int
    text_layers: int
    pieces: int  # rows of the text embedding: the tokenizer has no more pieces
    codec: Stage
    polish: Stage
    language: Stage


WINDOW = 20.0  # seconds of a composed window in a pool
FRAMES = 50  # per second

PLANS = {
    "gpu": Plan(
        filters=16, latent=64, entries=1024, width=320, layers=9, heads=5, text_width=128, text_layers=3, pieces=256,
        codec=Stage(60000, 6.0, 64, 1.0, 6e-4, 1024, 16, 16),  # copying in 16 windows takes longer than a step
        polish=Stage(60000, 12.0, 16, 1.0, 3e-4, 512, 8, 8),
        language=Stage(60000, 13.0, 64, 20.0, 2e-3, 20000, 32, 1),
    ),
    "cpu": Plan(
        filters=12, latent=64, entries=1024, width=256, layers=4, heads=4, text_width=128, text_layers=2, pieces=256,
        codec=Stage(8000, 20.0, 12, 0.5, 6e-4, 64, 1, 4),
        polish=Stage(2000, 10.0, 4, 0.5, 3e-4, 64, 1, 4),
        language=Stage(8000, 24.0, 4, 17.0, 1e-3, 480, 1, 3),
    ),
    "smoke": Plan(
        filters=4, latent=16, entries=64, width=64, layers=2, heads=2, text_width=32, text_layers=1, pieces=256,
        codec=Stage(400, 2.0, 4, 0.3, 1e-3, 6, 2, 20),
        polish=Stage(6, 1.0, 2, 0.3, 3e-4, 6, 2, 20),
        language=Stage(60, 2.0, 2, 17.0, 1e-3, 6, 2, 20),
    ),
}
