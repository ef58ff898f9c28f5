"""Keys, chords and voice leading. Pitches are MIDI numbers (69 = 440 Hz), pitch classes 0 (C) to 11 (B)."""

import itertools

NAMES = ["C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B"]

MODES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}

# Degrees of the scale, one per bar of a loop of four; 0 is the tonic. All of them lead back to their beginning.
PROGRESSIONS = {
    "major": [(0, 5, 3, 4), (0, 4, 5, 3), (0, 3, 4, 3), (5, 3, 0, 4), (0, 2, 3, 4), (1, 4, 0, 5), (0, 0, 3, 4)],
    "minor": [(0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6), (0, 0, 5, 6), (0, 3, 0, 4), (5, 6, 0, 0), (0, 2, 6, 3)],
    "dorian": [(0, 3, 0, 3), (0, 6, 3, 0), (0, 1, 2, 3), (0, 0, 3, 3)],
    "mixolydian": [(0, 6, 3, 0), (0, 0, 6, 3), (0, 4, 6, 3), (0, 6, 0, 6)],
}


def degree(root, mode, step):
    """Pitch of the step-th note of the scale that starts at pitch root; step may leave the octave."""
    scale = MODES[mode]
    return root + 12 * (step // 7) + scale[step % 7]


def chord(root, mode, step, size):
    """Pitch classes of the chord of stacked thirds on a degree: three notes, or more for sevenths and ninths."""
    return [degree(root, mode, step + 2 * i) % 12 for i in range(size)]


def hertz(pitch):
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def voicing(classes, before, low):
    """Pitches for the classes within an octave and a half from low: those that move least from the voicing before."""
    choices = [[low + (c - low) % 12 + octave for octave in (0, 12) if (c - low) % 12 + octave < 18] for c in classes]
    candidates = [sorted(v) for v in itertools.product(*choices)]
    if before is None:
        return min(candidates, key=lambda v: (v[-1] - v[0], v[0]))
    return min(candidates, key=lambda v: (sum(abs(a - b) for a, b in zip(v, before)), v))


def progression(root, mode, degrees, size, low):
    """Voice-led pitches of a whole loop: [bars][size]. Led round once before, so that the seam is smooth as well."""
    before, out = None, []
    for step in [*degrees, *degrees]:
        before = voicing(chord(root, mode, step, size), before, low)
        out.append(before)
    return out[len(degrees):]
