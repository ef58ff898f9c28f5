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
    """The truth as plain values."""
    return {
        "genre": piece.genre, "bpm": piece.bpm, "key": piece.key, "swing": round(piece.swing, 2), "mood": piece.mood,
        "parts": {p.name: p.sound for p in piece.parts}, "drums": sorted(piece.drums), "loudness": round(piece.mix["loudness"], 1),
    }


def part_words(part, random):
    sound, role = SOUND.get(part.sound, part.sound), str(random.choice(ROLE[part.name]))
    if part.name == "bass":
        return sound if "bass" in sound else f"{sound} {role}"
    return f"{sound} {role}" if random.random() < 0.6 and role not in sound else sound


def tempo_words(bpm, random):
    whole = round(bpm)
    pace = "slow" if bpm < 90 else "fast" if bpm > 140 else "mid tempo"
    return str(random.choice([f"{whole} bpm", f"{whole} bpm", f"{whole} BPM", f"at {whole} bpm", pace]))


def describe(piece, random):
    """One description; a dozen phrases at most, at least one."""
    genre = str(random.choice([piece.genre, *ALSO.get(piece.genre, [])]))
    head = f"{piece.mood} {genre}" if random.random() < 0.6 else genre
    said = [head + str(random.choice(["", "", " loop", " beat", " track"]))]
    if random.random() < 0.65:
        said.append(tempo_words(piece.bpm, random))
    if random.random() < 0.5:
        said.append(str(random.choice(["", "in "])) + (piece.key if random.random() < 0.8 else piece.mode))
    said += [part_words(p, random) for p in piece.parts if random.random() < 0.6]
    names = {p.name for p in piece.parts}
    if "lead" not in names and random.random() < 0.15:
        said.append("no melody")
    if piece.swing > 0.2 and random.random() < 0.4:
        said.append("swung drums")
    tail = said[1:]
    random.shuffle(tail)
    return ", ".join([said[0], *tail])
