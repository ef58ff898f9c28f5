"""Says in words what is true of a piece. The wording varies, and so does how much is said."""

ALSO = {
    "drum and bass": ["dnb", "drum n bass"], "hip hop": ["boom bap", "hip-hop"], "lofi": ["lo-fi", "lofi hip hop", "chillhop"],
    "garage": ["uk garage", "two step"], "breakbeat": ["breaks"], "synthwave": ["eighties synth", "retrowave"],
}
SOUND = {
    "round": "round bass", "sub": "sub bass", "acid": "acid", "growl": "growling bass", "finger": "bass guitar", "epiano": "electric piano",
    "supersaw": "supersaw", "fm": "fm synth", "saw": "saw synth", "square": "square synth", "distorted": "distorted guitar", "warm": "warm pad",
    "dark": "dark pad", "vibes": "vibraphone", "pluck": "plucked synth",
}
ROLE = {
    "bass": ["bass", "bassline"], "pad": ["pad", "chords"], "keys": ["chords"], "stab": ["stabs", "chord stabs"], "skank": ["offbeat chords"],
    "arp": ["arpeggio", "arp"], "lead": ["melody", "lead"],
}


def facts(piece):
    """The truth as plain values; all that a description needs."""
    return {
        "genre": piece.genre, "bpm": piece.bpm, "key": piece.key, "swing": round(piece.swing, 2), "mood": piece.mood,
        "parts": {p.name: p.sound for p in piece.parts}, "drums": sorted(piece.drums), "loudness": round(piece.mix["loudness"], 1),
    }


def part_words(name, sound, random):
    words, role = SOUND.get(sound, sound), str(random.choice(ROLE[name]))
    if name == "bass":
        return words if "bass" in words else f"{words} {role}"
    return f"{words} {role}" if random.random() < 0.6 and role not in words else words


def tempo_words(bpm, random):
    whole = round(bpm)
    pace = "slow" if bpm < 90 else "fast" if bpm > 140 else "mid tempo"
    return str(random.choice([f"{whole} bpm", f"{whole} bpm", f"{whole} BPM", f"at {whole} bpm", pace]))


def describe(truth, random):
    """One description of facts(): the genre, and about half of the rest in any order."""
    genre = str(random.choice([truth["genre"], *ALSO.get(truth["genre"], [])]))
    head = f"{truth['mood']} {genre}" if random.random() < 0.6 else genre
    said = []
    if random.random() < 0.65:
        said.append(tempo_words(truth["bpm"], random))
    if random.random() < 0.5:
        key = truth["key"] if random.random() < 0.8 else truth["key"].split()[-1]
        said.append(str(random.choice(["", "in "])) + key)
    said += [part_words(*part, random) for part in truth["parts"].items() if random.random() < 0.6]
    if "lead" not in truth["parts"] and random.random() < 0.15:
        said.append("no melody")
    if truth["swing"] > 0.2 and random.random() < 0.4:
        said.append("swung drums")
    random.shuffle(said)
    return ", ".join([head + str(random.choice(["", "", " loop", " beat", " track"])), *said])
