"""A piece: everything that is true of one composition, drawn from its seed, and its score.

A piece is a loop of four bars in two versions (the second ends in a fill and varies its melodies), repeated while parts
enter and leave every four bars. Nothing is rendered here: score() gives rows of notes and hits for a window of time.
"""

from dataclasses import dataclass

import numpy as np

import theory
import timbres
from genres import GENRES

LOOP = 4  # bars
STEPS = 16  # of a bar
BUSES = {"drums": 0, "bass": 1}  # every other part plays on bus 2
GAIN = {"bass": 0.42, "pad": 0.16, "keys": 0.27, "stab": 0.26, "skank": 0.26, "arp": 0.32, "lead": 0.36}

# Steps of a bar on which a bass line of a kind plays, as digits of strength; "o" plays the octave above.
BASS = {
    "offbeat": ["..8...8...8...8.", "..88..88..88..88"], "eighths": ["8.6.7.6.8.6.7.6."], "pulse": ["8888888888888888", "8.88.88.8.88.88."],
    "syncopated": ["8..7..8...7.8...", "8.....7..8....7.", "8..8...8..8.7..."], "rolling": [".887.887.887.887", "8877887788778877"],
    "long": ["8...............", "8.........7....."], "acid": ["8.6o8.o68.7o.8o6", "86.o8.6.8o.68.o8"], "sparse": ["8......7..6.....", "8.....7.........", "8..5......7....."],
    "octaves": ["8.o.8.o.8.o.8.o.", "8oo.8.o.8oo.8.oo"], "roots": ["8.......7.......", "8...6...7...6..."],
}
CHORD_RHYTHM = {
    "stab": ["8..7..8...7.....", "..8...8...8...8.", "8..8..8..8..8...", "...8......8....."], "skank": ["....8.......8...", "..8...8...8...8."],
    "keys": ["8...............", "8.......7.......", "8.....7...6.....", "8..7..6..7..6..."],
}


@dataclass
class Part:
    name: str
    sound: str
    wave: int
    tone: timbres.Tone
    loops: tuple  # two versions, each a list of (step in the loop, length in steps, pitch, strength)
    gain: float


@dataclass
class Piece:
    seed: int
    genre: str
    bpm: float
    root: int  # pitch class
    mode: str
    swing: float
    parts: list
    drums: dict  # voice → two versions, each a list of (step, strength)
    kit: dict  # voice → row of timbres.DRUM_FIELDS
    sections: np.ndarray  # [sections, parts + 1] of bool: who plays; the last column is the drums
    mix: dict  # effects: see effects.py
    mood: str

    @property
    def step(self):
        return 60 / self.bpm / 4

    @property
    def key(self):
        return f"{theory.NAMES[self.root]} {self.mode}"


def pattern(text):
    """[(step, strength 0…1, octave up?)] of a bar."""
    return [(i, 0.8 if c == "o" else int(c) / 9, c == "o") for i, c in enumerate(text) if c != "."]


def bass(random, kind, root, mode, degrees):
    bar, out = pattern(random.choice(BASS[kind])), []
    low = 28 + (root - 28) % 12
    fifth = random.random() < 0.4
    for b, step in enumerate(degrees):
        pitch = theory.degree(low, mode, step)
        pitch -= 12 if pitch > 43 else 0
        for i, (s, v, up) in enumerate(bar):
            end = bar[i + 1][0] if i + 1 < len(bar) else STEPS
            higher = 7 if fifth and i == len(bar) - 1 and b % 2 and step % 7 in (0, 3, 4) else 0
            out.append((b * STEPS + s, max(0.6, (end - s) * 0.9), pitch + 12 * up + higher, v))
    return out


def chords(random, name, voiced):
    """Pads hold a chord for its bar; the others play a rhythm."""
    if name == "pad":
        return [(b * STEPS, STEPS - 0.2, p, 0.8) for b, notes in enumerate(voiced) for p in notes]
    bar = pattern(random.choice(CHORD_RHYTHM[name]))
    hold = {"keys": 6.0, "stab": 1.2, "skank": 1.0}[name]
    return [
        (b * STEPS + s, min(hold, STEPS - s), p, v * random.uniform(0.92, 1.0))
        for b, notes in enumerate(voiced) for s, v, _ in bar for p in notes
    ]


def arpeggio(random, voiced):
    """One order of chord notes on a fixed grid, the same in every bar."""
    every = random.choice([1, 2, 2, 3])
    rests = random.random(STEPS) < random.choice([0.0, 0.15, 0.35])
    order = random.choice(["up", "down", "both", "random"])
    walk = random.integers(0, 4, STEPS)
    out = []
    for b, notes in enumerate(voiced):
        ladder = [*notes, notes[0] + 12]
        ring = {"up": ladder, "down": ladder[::-1], "both": ladder + ladder[-2:0:-1], "random": [ladder[i % len(ladder)] for i in walk]}[order]
        for i, s in enumerate(range(0, STEPS, every)):
            if not rests[s]:
                out.append((b * STEPS + s, every * 0.9, ring[i % len(ring)], 0.9 if s % 4 == 0 else 0.7))
    return out


def melody(random, root, mode, degrees):
    """A motif of one or two bars that moves by small steps of the scale, lands on chord notes, and is answered."""
    low = 64 + (root - 64) % 12
    motif, s = [], 0
    while s < 2 * STEPS:
        length = int(random.choice([2, 2, 3, 4, 4, 6, 8]))
        motif.append((s, min(length, 2 * STEPS - s), int(random.choice([-2, -1, -1, 0, 1, 1, 2])), random.random() < 0.75))
        s += length
    out = []
    for half in (0, 2):
        at = degrees[half] % 7
        for i, (s, length, move, sounds) in enumerate(motif):
            at += move + (half and i == len(motif) - 1)
            if s % 8 == 0:  # land on a note of the chord
                base = degrees[half + s // STEPS]
                at = base + min((0, 2, 4, 7, -3), key=lambda d: abs(base + d - at))
            at -= 7 * (at > 9) - 7 * (at < -4)
            if sounds:
                out.append((half * STEPS + s, length * 0.92, theory.degree(low, mode, at), 0.9))
    return out


def vary(random, loop):
    """The second version of a line: some notes of the last bar are left out or move an octave."""
    out = []
    for s, length, pitch, v in loop:
        chance = random.random() if s >= (LOOP - 1) * STEPS else 1.0
        if chance > 0.12 or s % STEPS == 0:
            out.append((s, length, pitch + (12 if chance < 0.25 and s % STEPS else 0), v))
    return out


def drum_loops(random, genre):
    """voice → (plain, with a fill in the last beats)."""
    loops = {}
    for voice, patterns in genre.drums.items():
        if voice in ("perc", "tom", "open", "rim") and random.random() < 0.4:
            continue
        bar = pattern(random.choice(patterns))
        bars = 1 if voice == "crash" else LOOP
        jitter = random.uniform(0.9, 1.05, STEPS)
        loops[voice] = [(b * STEPS + s, v * jitter[s]) for b in range(bars) for s, v, _ in bar]
    return {voice: (loop, fill(random, voice, loop)) for voice, loop in loops.items()}


def fill(random, voice, loop):
    begin = LOOP * STEPS - int(random.choice([4, 4, 8]))
    if voice in ("snare", "tom", "clap"):
        kept = [(s, v) for s, v in loop if s < begin]
        return kept + [(s, 0.5 + 0.4 * (s - begin) / 8) for s in range(begin, LOOP * STEPS) if random.random() < 0.7]
    return [(s, v) for s, v in loop if s < begin or voice != "kick" or s % 8 == 0]


def compose(seed):
    """The piece of a seed."""
    random = np.random.default_rng(seed)
    name = str(random.choice(list(GENRES)))
    genre = GENRES[name]
    root, mode = int(random.integers(12)), str(random.choice(genre.modes))
    progressions = theory.PROGRESSIONS[mode]
    degrees = progressions[random.integers(len(progressions))]
    size = int(random.choice([3, 3, 4])) if name not in ("lofi", "house", "garage") else 4
    parts = []
    for part, chance in genre.parts.items():
        if random.random() < chance:
            parts.append(make_part(random, genre, part, root, mode, degrees, size))
    if len(parts) < 2:  # a bass alone is no piece
        extra = next(p for p in genre.parts if p not in {x.name for x in parts})
        parts.append(make_part(random, genre, extra, root, mode, degrees, size))
    drums = drum_loops(random, genre)
    kit = {voice: timbres.drum(voice, random) for voice in drums}
    mix = {
        "duck": random.uniform(*genre.duck), "recover": random.uniform(0.08, 0.2), "room": random.uniform(*genre.room),
        "decay": random.uniform(0.5, 3.0), "echo": random.uniform(0.1, 0.35) * (random.random() < 0.4), "loudness": random.uniform(-18, -12),
        "drums": random.uniform(0.75, 1.15), "press": random.uniform(1.0, 3.0), "tilt": random.uniform(-1.5, 1.5),
    }
    return Piece(
        seed, name, round(random.uniform(*genre.bpm), 1), root, mode, random.uniform(*genre.swing), parts, drums, kit,
        arrangement(random, len(parts) + 1), mix, str(random.choice(genre.words)),
    )


def make_part(random, genre, name, root, mode, degrees, size):
    sound = str(random.choice(genre.sounds[name]))
    wave, tone = timbres.draw(sound, random)
    if name == "bass":
        loop = bass(random, str(random.choice(genre.bass)), root, mode, degrees)
    elif name == "lead":
        loop = melody(random, root, mode, degrees)
    else:
        low = {"pad": 52, "keys": 55, "stab": 57, "skank": 57, "arp": 62}[name] + int(random.integers(-2, 4))
        voiced = theory.progression(root, mode, degrees, size, low)
        loop = arpeggio(random, voiced) if name == "arp" else chords(random, name, voiced)
    varied = loop if name == "pad" else vary(random, loop)
    return Part(name, sound, wave, tone, (loop, varied), GAIN[name] * random.uniform(0.7, 1.25))


def arrangement(random, parts, sections=16):
    """Who plays in each section of four bars: mostly all; now and then one part rests."""
    plays = np.ones((sections, parts), bool)
    for i in range(1, sections):
        if random.random() < 0.3:
            plays[i, random.integers(parts)] = False
    return plays


def score(piece, begin, seconds):
    """Notes and hits that sound in a window: two lists of rows.

    notes: (start, length, pitch, gain, part index); hits: (start, gain, voice). Times in seconds from the window's begin;
    a start is negative where a note began before it.
    """
    notes, hits, step = [], [], piece.step
    span = LOOP * STEPS * step
    for section in range(max(0, int(begin / span) - 1), int((begin + seconds) / span) + 1):
        plays = piece.sections[section % len(piece.sections)]
        base = section * span - begin
        when = lambda s: base + (s + piece.swing * (s % 2)) * step
        for i, part in enumerate(piece.parts):
            if plays[i]:
                notes += [(when(s), n * step, p, v * part.gain, i) for s, n, p, v in part.loops[section % 2] if when(s) < seconds]
        if plays[-1]:
            for voice, loops in piece.drums.items():
                gain = timbres.DRUM_GAIN[voice] * piece.mix["drums"]
                hits += [(when(s), v * gain, voice) for s, v in loops[section % 2] if when(s) < seconds]
    return [n for n in notes if n[0] + n[1] > 0], [h for h in hits if h[0] > -0.5]
