"""Sizes and budgets of a training: "gpu" for one NVIDIA H200, "cpu" for two cores with bfloat16 matrix units.

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
    language: Stage


WINDOW = 20.0  # seconds of a composed window in a pool
FRAMES = 50  # per second

PLANS = {
    "gpu": Plan(
        16, 64, 1024, 256, 7, 4, 128, 3, 256,
        codec=Stage(12000, 8.5, 64, 1.0, 5e-4, 1024, 8, 1),
        language=Stage(60000, 18.0, 64, 20.0, 1e-3, 30000, 24, 1),
    ),
    "cpu": Plan(
        12, 64, 1024, 256, 4, 4, 128, 2, 256,
        codec=Stage(8000, 24.0, 12, 0.5, 1e-3, 64, 1, 4),
        language=Stage(8000, 24.0, 8, 17.0, 1.5e-3, 600, 1, 2),
    ),
}
