"""Instruments as rows of numbers. A sound name gives ranges; a piece draws its own instrument from them.

Tonal notes are single-cycle tables that fade from a bright to a dark filtering of one spectrum (synth.py). Drums are
a swept sine plus a band of noise.
"""

from dataclasses import dataclass, fields

import numpy as np

HARMONICS = 1024  # bins of a single-cycle table of 2048 points; bin 0 is unused


@dataclass
class Tone:
    """One tonal instrument. Times in seconds, cutoffs in Hz."""
    bright: float  # cutoff when the note begins
    dark: float  # cutoff that it falls to
    morph: float  # time constant of that fall
    attack: float
    decay: float  # time constant towards sustain
    sustain: float
    release: float  # time constant after the note's end
    resonance: float = 0.0  # height of a peak at the cutoff
    detune: float = 0.0  # cents; above zero the note is doubled
    vibrato: float = 0.0  # cents
    drive: float = 1.0  # into a soft limit


# name: (wave, ranges of Tone's fields; a range is (low, high), drawn evenly on a logarithmic scale)
SOUNDS = {
    # basses
    "round": ("triangle", dict(bright=(500, 1500), dark=(200, 500), morph=(0.05, 0.2), attack=(0.003, 0.008), decay=(0.2, 0.6), sustain=(0.4, 0.8), release=(0.02, 0.05))),
    "sub": ("sine", dict(bright=(300, 600), dark=(200, 300), morph=(0.1, 0.2), attack=(0.004, 0.01), decay=(0.4, 1.2), sustain=(0.5, 0.9), release=(0.04, 0.1), drive=(1.0, 2.5))),
    "acid": ("saw", dict(bright=(1500, 5000), dark=(250, 600), morph=(0.05, 0.15), attack=(0.002, 0.004), decay=(0.15, 0.4), sustain=(0.3, 0.6), release=(0.01, 0.03), resonance=(3, 8), drive=(1.0, 2.0))),
    "growl": ("growl", dict(bright=(900, 2500), dark=(300, 700), morph=(0.15, 0.5), attack=(0.004, 0.02), decay=(0.4, 1.0), sustain=(0.6, 0.9), release=(0.03, 0.08), resonance=(0.5, 2), detune=(6, 14), drive=(1.2, 2.5))),
    "finger": ("pulse", dict(bright=(1200, 2500), dark=(350, 700), morph=(0.06, 0.15), attack=(0.002, 0.005), decay=(0.25, 0.6), sustain=(0.15, 0.4), release=(0.02, 0.05))),
    # leads, stabs and basses alike
    "saw": ("saw", dict(bright=(2500, 7000), dark=(900, 2000), morph=(0.08, 0.3), attack=(0.003, 0.01), decay=(0.2, 0.6), sustain=(0.3, 0.7), release=(0.03, 0.1), detune=(5, 12))),
    "square": ("square", dict(bright=(2500, 7000), dark=(800, 2000), morph=(0.08, 0.3), attack=(0.003, 0.01), decay=(0.2, 0.6), sustain=(0.3, 0.7), release=(0.03, 0.1), vibrato=(1, 8))),
    "supersaw": ("saw", dict(bright=(5000, 11000), dark=(2500, 6000), morph=(0.2, 0.8), attack=(0.005, 0.05), decay=(0.4, 1.0), sustain=(0.6, 0.9), release=(0.08, 0.25), detune=(10, 22))),
    "fm": ("fm hard", dict(bright=(5000, 9000), dark=(600, 1500), morph=(0.03, 0.12), attack=(0.001, 0.003), decay=(0.12, 0.3), sustain=(0.05, 0.2), release=(0.03, 0.08))),
    "brass": ("saw", dict(bright=(2500, 4500), dark=(1500, 2500), morph=(0.1, 0.3), attack=(0.03, 0.07), decay=(0.3, 0.8), sustain=(0.6, 0.9), release=(0.05, 0.1), vibrato=(2, 8), detune=(3, 8))),
    "flute": ("flute", dict(bright=(3000, 6000), dark=(1500, 2500), morph=(0.1, 0.4), attack=(0.03, 0.08), decay=(0.4, 1.0), sustain=(0.7, 0.95), release=(0.06, 0.12), vibrato=(5, 15))),
    "distorted": ("pulse", dict(bright=(3500, 6500), dark=(2500, 4500), morph=(0.2, 0.6), attack=(0.002, 0.006), decay=(0.8, 2.0), sustain=(0.6, 0.9), release=(0.03, 0.06), detune=(4, 9), drive=(3.0, 6.0))),
    # keys and plucked
    "piano": ("piano", dict(bright=(3500, 7000), dark=(700, 1500), morph=(0.15, 0.5), attack=(0.002, 0.004), decay=(0.4, 1.2), sustain=(0.02, 0.1), release=(0.06, 0.15), detune=(1, 3))),
    "epiano": ("fm soft", dict(bright=(3000, 6000), dark=(700, 1400), morph=(0.1, 0.4), attack=(0.002, 0.005), decay=(0.6, 1.5), sustain=(0.05, 0.2), release=(0.08, 0.2), vibrato=(0.5, 3))),
    "organ": ("organ", dict(bright=(3000, 7000), dark=(2500, 5000), morph=(0.2, 0.5), attack=(0.004, 0.012), decay=(0.5, 1.0), sustain=(0.8, 1.0), release=(0.02, 0.06), vibrato=(2, 8))),
    "pluck": ("saw", dict(bright=(4000, 9000), dark=(400, 1000), morph=(0.03, 0.1), attack=(0.001, 0.003), decay=(0.12, 0.35), sustain=(0.01, 0.05), release=(0.05, 0.15), detune=(2, 8))),
    "guitar": ("pulse", dict(bright=(3000, 6000), dark=(600, 1300), morph=(0.05, 0.2), attack=(0.001, 0.003), decay=(0.3, 0.8), sustain=(0.02, 0.08), release=(0.04, 0.1))),
    "harp": ("triangle", dict(bright=(4000, 8000), dark=(800, 1600), morph=(0.1, 0.3), attack=(0.001, 0.003), decay=(0.4, 1.0), sustain=(0.01, 0.04), release=(0.2, 0.5))),
    "bell": ("bell", dict(bright=(7000, 12000), dark=(1000, 2500), morph=(0.1, 0.4), attack=(0.001, 0.003), decay=(0.4, 1.2), sustain=(0.01, 0.05), release=(0.2, 0.6))),
    "vibes": ("bell soft", dict(bright=(4000, 7000), dark=(800, 1500), morph=(0.05, 0.2), attack=(0.001, 0.004), decay=(0.6, 1.6), sustain=(0.01, 0.05), release=(0.15, 0.4), vibrato=(2, 6))),
    # pads
    "strings": ("saw", dict(bright=(2500, 5000), dark=(2000, 4000), morph=(0.5, 1.5), attack=(0.08, 0.25), decay=(1.0, 2.0), sustain=(0.8, 1.0), release=(0.15, 0.4), detune=(6, 12), vibrato=(2, 6))),
    "warm": ("saw", dict(bright=(700, 1800), dark=(500, 1200), morph=(0.5, 1.5), attack=(0.1, 0.4), decay=(1.0, 2.0), sustain=(0.8, 1.0), release=(0.2, 0.6), detune=(5, 12))),
    "dark": ("square", dict(bright=(400, 900), dark=(300, 600), morph=(0.5, 1.5), attack=(0.15, 0.5), decay=(1.0, 2.0), sustain=(0.8, 1.0), release=(0.3, 0.7), detune=(6, 14), resonance=(0.5, 2))),
}
WAVES = sorted({wave for wave, _ in SOUNDS.values()})


def spectra():
    """Complex spectra [waves, HARMONICS+1] of one cycle each, in the order of WAVES, with unit power."""
    k = np.arange(HARMONICS + 1)
    safe = np.maximum(k, 1)
    x = 2 * np.pi * np.arange(2 * HARMONICS) / (2 * HARMONICS)
    fm = lambda ratio, index: np.fft.rfft(np.sin(x + index * np.sin(ratio * x)))
    bars = lambda levels: sum(a * -1j * (k == n) for n, a in levels.items())
    made = {
        "sine": -1j * (k == 1),
        "saw": -1j / safe,
        "square": -1j * (k % 2) / safe,
        "triangle": (k % 2) / safe ** 2,
        "pulse": np.sin(np.pi * 0.17 * k) / safe,
        "growl": -1j * (1 + 0.7 * np.sin(0.9 * k)) / safe,
        "organ": bars({1: 1, 2: 0.7, 3: 0.5, 4: 0.35, 6: 0.25, 8: 0.2}),
        "flute": bars({1: 1, 2: 0.25, 3: 0.12, 4: 0.03}),
        "piano": -1j * np.exp(-0.12 * k) * (1 + 0.5 * (k % 7 != 0)) / safe ** 0.7,
        "fm hard": fm(3, 2.2), "fm soft": fm(1, 0.9) + 0.12 * fm(7, 0.8), "bell": fm(7, 1.1) + 0.5 * fm(2, 0.8), "bell soft": fm(4, 0.5),
    }
    rows = np.stack([made[w] * (k > 0) for w in WAVES])
    return rows / np.sqrt((np.abs(rows) ** 2).sum(1, keepdims=True))


def draw(name, random):
    """One instrument of that name: (index of its wave, Tone)."""
    wave, ranges = SOUNDS[name]
    values = {field: float(np.exp(random.uniform(*np.log(span)))) for field, span in ranges.items()}
    return WAVES.index(wave), Tone(**values)


TONE_FIELDS = [f.name for f in fields(Tone)]

# Drums: ranges of end and start frequency, sweep (1/s), decay of the tone, its level, noise band, its decay and level,
# bursts (a clap is several in a row), drive.
DRUM_FIELDS = ["low", "high", "sweep", "ring", "tone", "from_", "to", "hiss", "noise", "bursts", "drive"]
DRUMS = {
    "kick": ((40, 58), (120, 320), (18, 50), (0.09, 0.28), (1, 1), (1500, 3000), (6000, 12000), (0.003, 0.01), (0.03, 0.25), (1, 1), (1.2, 3)),
    "snare": ((150, 220), (220, 400), (30, 60), (0.04, 0.1), (0.4, 0.8), (700, 1800), (7000, 14000), (0.05, 0.14), (0.5, 0.9), (1, 1), (1, 2)),
    "clap": ((800, 1000), (1000, 1100), (30, 60), (0.005, 0.01), (0.01, 0.02), (800, 1300), (3500, 8000), (0.05, 0.14), (0.9, 1), (3, 3), (1, 1.5)),
    "rim": ((450, 900), (900, 1700), (60, 90), (0.008, 0.02), (0.7, 1), (1500, 2500), (6000, 9000), (0.005, 0.015), (0.2, 0.5), (1, 1), (1, 1.5)),
    "hat": ((6000, 8000), (8000, 9000), (30, 60), (0.005, 0.02), (0.01, 0.05), (5000, 8500), (13000, 15500), (0.012, 0.045), (0.5, 0.8), (1, 1), (1, 1.2)),
    "open": ((6000, 8000), (8000, 9000), (30, 60), (0.01, 0.02), (0.01, 0.05), (4500, 8000), (13000, 15500), (0.08, 0.2), (0.45, 0.7), (1, 1), (1, 1.2)),
    "perc": ((250, 1200), (300, 2000), (20, 60), (0.02, 0.08), (0.5, 0.9), (2000, 5000), (8000, 12000), (0.01, 0.05), (0.1, 0.4), (1, 1), (1, 1.5)),
    "tom": ((70, 140), (140, 260), (10, 25), (0.1, 0.2), (0.9, 1), (400, 900), (2000, 4000), (0.01, 0.04), (0.05, 0.2), (1, 1), (1, 2)),
    "crash": ((3000, 5000), (5000, 6000), (20, 30), (0.02, 0.05), (0.02, 0.06), (2500, 4000), (13000, 15500), (0.2, 0.4), (0.5, 0.7), (1, 1), (1, 1.2)),
}
DRUM_GAIN = {"kick": 0.9, "snare": 0.55, "clap": 0.5, "rim": 0.4, "hat": 0.22, "open": 0.22, "perc": 0.25, "tom": 0.45, "crash": 0.3}


def drum(name, random):
    """One drum of that name as a row in the order of DRUM_FIELDS."""
    return [float(np.exp(random.uniform(*np.log(span)))) for span in DRUMS[name]]
