"""What makes a genre here: tempo, swing, keys, drum patterns, and which parts play with which sounds.

A drum pattern is one bar of sixteen steps; a digit is a hit's strength (9 loudest), a dot a rest. Where a voice has
several patterns, a piece takes one of them.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Genre:
    bpm: tuple  # lowest and highest tempo
    drums: dict  # voice → patterns
    parts: dict  # part → probability that the piece has it
    sounds: dict  # part → names in timbres.SOUNDS
    swing: tuple = (0.0, 0.0)  # range, in steps by which every second step is late
    modes: tuple = ("minor", "minor", "major")
    bass: tuple = ("offbeat", "eighths", "syncopated")  # kinds of line, see parts.BASS
    duck: tuple = (0.0, 0.3)  # depth of the side-chain from the kick
    room: tuple = (0.05, 0.25)  # level of the reverb
    words: tuple = field(default=())  # moods that descriptions draw from


FOUR = ["9...9...9...9..."]
BACKBEAT = ["....9.......9...", "....9.......9..3", "....9..2....9..."]
EIGHTHS = ["7.4.7.4.7.4.7.4.", "6.6.6.6.6.6.6.6."]
SIXTEENTHS = ["7353735373537353", "6464646464646464"]
OFFBEAT = ["..8...8...8...8."]

GENRES = {
    "house": Genre(
        (118, 128), {"kick": FOUR, "clap": BACKBEAT[:1], "hat": SIXTEENTHS + EIGHTHS, "open": OFFBEAT, "perc": ["...5..5....5..5.", "..4..4....4..4.."]},
        {"bass": 0.95, "stab": 0.75, "pad": 0.5, "lead": 0.25, "arp": 0.3},
        {"bass": ["round", "square"], "stab": ["organ", "piano", "saw"], "pad": ["strings", "warm"], "lead": ["square", "flute"], "arp": ["pluck", "bell"]},
        swing=(0.0, 0.2), duck=(0.3, 0.6), words=("groovy", "warm", "uplifting", "deep"),
    ),
    "techno": Genre(
        (126, 140), {"kick": FOUR, "clap": ["............9...", "....7.......7..."], "hat": OFFBEAT + SIXTEENTHS, "perc": ["..5..5..5.5..5..", "5..5..5..5..5.5.", "...6......6....."], "tom": ["...5...5..5.....", "......6.......6."]},
        {"bass": 0.9, "arp": 0.5, "pad": 0.35, "stab": 0.4},
        {"bass": ["acid", "round", "growl"], "arp": ["acid", "fm", "square"], "pad": ["warm", "dark"], "stab": ["fm", "saw"]},
        bass=("acid", "offbeat", "pulse"), modes=("minor",), duck=(0.35, 0.7), words=("dark", "driving", "hypnotic", "raw"),
    ),
    "trance": Genre(
        (134, 142), {"kick": FOUR, "clap": BACKBEAT[:1], "hat": SIXTEENTHS, "open": OFFBEAT},
        {"bass": 1.0, "arp": 0.8, "pad": 0.7, "lead": 0.5},
        {"bass": ["saw", "square"], "arp": ["supersaw", "pluck"], "pad": ["supersaw", "strings"], "lead": ["supersaw", "square"]},
        bass=("offbeat", "rolling"), duck=(0.5, 0.75), room=(0.2, 0.4), words=("euphoric", "soaring", "energetic"),
    ),
    "drum and bass": Genre(
        (168, 175), {"kick": ["9.........9.....", "9......9..9.....", "9.9.......9....."], "snare": ["....9.......9...", "....9..3.3..9..3"], "hat": EIGHTHS + SIXTEENTHS, "perc": ["..3..4.3..3..4.3"]},
        {"bass": 1.0, "pad": 0.6, "arp": 0.3, "stab": 0.3, "lead": 0.25},
        {"bass": ["growl", "round", "saw"], "pad": ["warm", "strings", "dark"], "arp": ["bell", "pluck"], "stab": ["fm", "organ"], "lead": ["flute", "square"]},
        bass=("long", "syncopated"), modes=("minor", "dorian"), words=("rolling", "dark", "liquid"),
    ),
    "garage": Genre(
        (128, 134), {"kick": ["9.........9.....", "9.....7...9....."], "snare": ["....9.......9...", "....9..2....9.2."], "hat": ["..7..57...7..57.", "5.74.57.5.74.57."], "perc": [".4.....4..4....."]},
        {"bass": 0.95, "stab": 0.75, "pad": 0.4, "lead": 0.25},
        {"bass": ["round", "square", "growl"], "stab": ["organ", "piano", "saw"], "pad": ["warm"], "lead": ["square", "flute"]},
        swing=(0.2, 0.4), bass=("syncopated", "offbeat"), words=("skippy", "bouncy", "soulful"),
    ),
    "hip hop": Genre(
        (82, 98), {"kick": ["9......5..9.....", "9.....7.9.......", "9..5..9...9....."], "snare": BACKBEAT, "hat": EIGHTHS + ["7.4.7.447.4.7.4."]},
        {"bass": 0.95, "keys": 0.7, "pad": 0.3, "lead": 0.3, "arp": 0.2},
        {"bass": ["round", "sub"], "keys": ["epiano", "piano", "vibes"], "pad": ["strings"], "lead": ["flute", "brass", "square"], "arp": ["pluck", "harp"]},
        swing=(0.15, 0.35), bass=("sparse", "syncopated"), words=("laid back", "dusty", "gritty", "head nodding"),
    ),
    "lofi": Genre(
        (70, 88), {"kick": ["9.....5..7......", "9......7..5.....", "9.........7....."], "snare": ["....7.......7..."], "rim": ["....6.......6..4"], "hat": ["5.3.5.3.5.3.5.3.", "5.5.5.5.5.5.5.5."]},
        {"bass": 0.85, "keys": 0.95, "pad": 0.3, "lead": 0.4},
        {"bass": ["round", "sub"], "keys": ["epiano", "piano", "guitar"], "pad": ["warm"], "lead": ["vibes", "flute", "guitar"]},
        swing=(0.2, 0.4), modes=("major", "dorian", "minor"), bass=("sparse", "roots"), words=("mellow", "sleepy", "dusty", "cosy"),
    ),
    "trap": Genre(
        (132, 150), {"kick": ["9......9..7.....", "9..7......9..7..", "9.....9........."], "clap": ["........9......."], "hat": ["7.7.7.7777.7.7.7", "7.7.7.7.7.777777", "7.77.77.7.7.7.7."], "open": ["......6.........", "..............6."]},
        {"bass": 1.0, "arp": 0.5, "keys": 0.45, "pad": 0.4, "lead": 0.3},
        {"bass": ["sub"], "arp": ["bell", "pluck", "harp"], "keys": ["piano", "bell"], "pad": ["dark", "strings"], "lead": ["flute", "brass"]},
        bass=("sparse", "long"), modes=("minor",), words=("dark", "heavy", "menacing"),
    ),
    "breakbeat": Genre(
        (105, 138), {"kick": ["9.7.......9.....", "9.9....9..9.....", "9..7..9...7....."], "snare": ["....9..4.4..9..4", "....9..3.3..9...", "....9.......9.5."], "hat": EIGHTHS, "open": ["..........6.....", "......5........."]},
        {"bass": 0.95, "stab": 0.5, "arp": 0.35, "pad": 0.4, "lead": 0.3},
        {"bass": ["growl", "acid", "square"], "stab": ["saw", "organ", "brass"], "arp": ["acid", "fm"], "pad": ["warm", "dark"], "lead": ["square", "saw"]},
        swing=(0.0, 0.15), bass=("syncopated", "eighths", "acid"), words=("funky", "chopped", "energetic"),
    ),
    "disco": Genre(
        (110, 124), {"kick": FOUR, "snare": BACKBEAT[:1], "hat": SIXTEENTHS, "open": OFFBEAT, "perc": ["5..5..5.5..5..5."]},
        {"bass": 1.0, "stab": 0.7, "pad": 0.7, "lead": 0.3},
        {"bass": ["finger", "square"], "stab": ["guitar", "piano", "brass"], "pad": ["strings"], "lead": ["brass", "flute", "saw"]},
        bass=("octaves", "eighths"), modes=("minor", "major", "dorian"), words=("funky", "glittering", "happy", "upbeat"),
    ),
    "rock": Genre(
        (96, 152), {"kick": ["9.......9.......", "9.....7.9.......", "9.7.....9.7....."], "snare": ["....9.......9..."], "hat": EIGHTHS[1:], "crash": ["7..............."]},
        {"bass": 1.0, "keys": 0.95, "lead": 0.4, "pad": 0.2},
        {"bass": ["finger", "saw"], "keys": ["distorted", "guitar", "organ"], "lead": ["distorted", "guitar", "organ"], "pad": ["organ", "strings"]},
        modes=("major", "minor", "mixolydian"), bass=("eighths", "roots"), words=("loud", "driving", "gritty", "bold"),
    ),
    "reggae": Genre(
        (70, 84), {"kick": ["........9.......", "9.......9.......", "9...9...9...9..."], "rim": ["........8......."], "hat": EIGHTHS + ["7.4.7.447.4.7.44"]},
        {"bass": 1.0, "skank": 1.0, "pad": 0.3, "lead": 0.4},
        {"bass": ["sub", "round", "finger"], "skank": ["organ", "guitar", "piano"], "pad": ["organ"], "lead": ["brass", "flute", "vibes"]},
        swing=(0.05, 0.3), modes=("minor", "major", "dorian"), bass=("sparse", "syncopated"), room=(0.15, 0.4), words=("sunny", "laid back", "heavy", "dubby"),
    ),
    "synthwave": Genre(
        (84, 118), {"kick": FOUR + ["9.......9......."], "snare": BACKBEAT[:1], "hat": SIXTEENTHS + EIGHTHS, "tom": ["..............77"]},
        {"bass": 1.0, "arp": 0.6, "pad": 0.8, "lead": 0.5},
        {"bass": ["saw", "square"], "arp": ["pluck", "square", "bell"], "pad": ["supersaw", "warm", "strings"], "lead": ["square", "saw", "brass"]},
        bass=("rolling", "eighths", "octaves"), room=(0.15, 0.35), duck=(0.1, 0.4), words=("nostalgic", "neon", "retro", "dreamy"),
    ),
    "ambient": Genre(
        (70, 100), {"perc": ["5.......3.......", "......4........."], "kick": ["7..............."]},
        {"pad": 1.0, "arp": 0.6, "bass": 0.5, "lead": 0.4, "keys": 0.3},
        {"pad": ["warm", "strings", "dark", "supersaw"], "arp": ["bell", "harp", "pluck"], "bass": ["sub"], "lead": ["flute", "vibes"], "keys": ["epiano", "piano"]},
        bass=("long",), modes=("major", "minor", "dorian", "mixolydian"), room=(0.35, 0.6), words=("calm", "floating", "spacious", "dreamy", "cold"),
    ),
}
