"""Renders the scores of many pieces at once, in torch, on any device.

notes → unique sounds → one batch per length → placed by adding at indices → [pieces, buses, samples]

A note is a single-cycle table, read at its pitch, that fades from a bright to a dark filtering of its instrument's
spectrum; no partial lies above 15 kHz, so nothing folds. Loops repeat, so each distinct sound is made once.
"""

import numpy as np
import torch

import theory
import timbres

RATE = 32000
BUSES = 3  # drums, bass, the rest
TABLE = 2 * timbres.HARMONICS
DRUM_SAMPLES = 16384
LENGTHS = [int(RATE * s) for s in (0.25, 0.5, 1, 2, 4, 8)]  # of rendered sounds, in samples
MARGIN = LENGTHS[-1]  # samples before and after a window, so that no sound needs to be cut while it is placed


class Synth:
    """Holds the constant tables on a device."""

    def __init__(self, device="cpu"):
        self.device = torch.device(device)
        self.spectra = torch.tensor(timbres.spectra(), dtype=torch.complex64, device=self.device)
        generator = torch.Generator().manual_seed(0)
        self.chunk = 1 << (19 if self.device.type == "cpu" else 26)  # samples rendered or placed at a time
        self.noise = torch.randn(1 << 20, generator=generator).to(self.device)

    def __call__(self, pieces, scores, seconds):
        """Dry buses [pieces, BUSES, samples] for the scores of piece.score."""
        samples = int(seconds * RATE)
        out = torch.zeros(len(pieces) * BUSES, samples + 2 * MARGIN, device=self.device)
        self.place_notes(out, pieces, [notes for notes, _ in scores])
        self.place_hits(out, pieces, [hits for _, hits in scores])
        return out[:, MARGIN : MARGIN + samples].unflatten(0, (len(pieces), BUSES))

    def tensor(self, rows, dtype=torch.float32):
        return torch.tensor(np.array(rows), dtype=dtype, device=self.device)

    # ---- tonal notes

    def place_notes(self, out, pieces, scores):
        sounds, events = {}, []  # (piece, part, pitch, length, detune) → row; and (row, bus row, start, gain)
        for b, (piece, notes) in enumerate(zip(pieces, scores)):
            for start, length, pitch, gain, i in notes:
                part = piece.parts[i]
                bus = b * BUSES + (1 if part.name == "bass" else 2)
                cents = [0.0] if part.tone.detune == 0 else [-part.tone.detune / 2, part.tone.detune / 2]
                for c in cents:
                    row = sounds.setdefault((b, i, pitch, round(length, 4), c), len(sounds))
                    events.append((row, bus, start, gain / len(cents) ** 0.5))
        if not events:
            return
        keys = list(sounds)
        lengths = np.array([k[3] + 4 * pieces[k[0]].parts[k[1]].tone.release for k in keys])
        bucket = np.searchsorted(LENGTHS[:-1], lengths * RATE)
        events = np.array(events)
        for size in np.unique(bucket):
            members = np.flatnonzero(bucket == size)
            self.render_bucket(out, pieces, keys, members, LENGTHS[size], events)

    def render_bucket(self, out, pieces, keys, members, samples, events):
        for part in np.array_split(members, len(members) * samples // self.chunk + 1):
            waves = self.notes(pieces, [keys[m] for m in part], samples)
            local = np.full(len(keys), -1)
            local[part] = np.arange(len(part))
            mine = events[local[events[:, 0].astype(int)] >= 0]
            self.add(out, waves, local[mine[:, 0].astype(int)], mine[:, 1], mine[:, 2], mine[:, 3])

    def notes(self, pieces, keys, samples):
        """Waves [keys, samples] at unit level."""
        tones = [pieces[b].parts[i].tone for b, i, *_ in keys]
        p = {f: self.tensor([getattr(t, f) for t in tones])[:, None] for f in timbres.TONE_FIELDS}
        waves = self.tensor([pieces[b].parts[i].wave for b, i, *_ in keys], torch.long)
        pitch = self.tensor([theory.hertz(pitch + cents / 100) for _, _, pitch, _, cents in keys])[:, None]
        gate = self.tensor([length for _, _, _, length, _ in keys])[:, None]
        tables = self.tables(waves, pitch, p)
        t = torch.arange(samples, device=self.device) / RATE
        wobble = p["vibrato"] * (np.log(2) / 1200 / (2 * np.pi * 5.5)) * (1 - torch.cos(2 * np.pi * 5.5 * t))
        phase = (pitch * (t + wobble)).frac().mul_(TABLE).long().clamp_(max=TABLE - 1)
        bright, dark = (torch.gather(table, 1, phase) for table in tables)
        wave = dark + (bright - dark) * torch.exp(-t / p["morph"])
        envelope = p["sustain"] + (1 - p["sustain"]) * torch.exp(-t / p["decay"])
        envelope *= (t / p["attack"]).clamp_(max=1) * torch.exp(-(t - gate).clamp_(min=0) / p["release"])
        envelope *= ((samples / RATE - t) / 0.005).clamp_(0, 1)
        return torch.tanh(p["drive"] * wave * envelope) / p["drive"].sqrt()

    def tables(self, waves, pitch, p):
        """Bright and dark single cycles [keys, TABLE] each, of about unit power when unfiltered."""
        partial = torch.arange(timbres.HARMONICS + 1, device=self.device) * pitch
        audible = (partial < 15000).float()
        out = []
        for cutoff in (p["bright"], p["dark"]):
            cutoff = torch.maximum(cutoff, 1.2 * pitch)  # never below the note itself
            x = partial / cutoff
            response = audible / (1 + x ** 4).sqrt() * (1 + p["resonance"] * torch.exp(-((x - 1) / 0.15) ** 2))
            out.append(torch.fft.irfft(self.spectra[waves] * response, n=TABLE) * (TABLE * 0.7))
        return out

    # ---- drums

    def place_hits(self, out, pieces, scores):
        rows, events, kits = {}, [], []
        for b, (piece, hits) in enumerate(zip(pieces, scores)):
            for start, gain, voice in hits:
                if (b, voice) not in rows:
                    rows[b, voice] = len(rows)
                    kits.append([*piece.kit[voice], (piece.seed * 31 + len(voice) * 7919 + ord(voice[0])) % (1 << 19)])
                events.append((rows[b, voice], b * BUSES, start, gain))
        if events:
            events = np.array(events)
            self.add(out, self.drums(self.tensor(kits)), events[:, 0].astype(int), *events.T[1:])

    def drums(self, kits):
        """Hits [voices, DRUM_SAMPLES] from rows of timbres.DRUM_FIELDS and an offset into the noise."""
        p = {name: column[:, None] for name, column in zip(timbres.DRUM_FIELDS, kits.T)}
        t = torch.arange(DRUM_SAMPLES, device=self.device) / RATE
        sweep = (p["high"] - p["low"]) / p["sweep"] * (1 - torch.exp(-p["sweep"] * t))
        tone = torch.sin(2 * np.pi * (p["low"] * t + sweep)) * torch.exp(-t / p["ring"]) * p["tone"]
        offset = kits[:, -1].long()[:, None]
        spectrum = torch.fft.rfft(self.noise[offset + torch.arange(DRUM_SAMPLES, device=self.device)])
        f = torch.linspace(0, RATE / 2, spectrum.shape[1], device=self.device)
        band = torch.sigmoid((f - p["from_"]) / 250) * torch.sigmoid((p["to"] - f) / 500)
        noise = torch.fft.irfft(spectrum * band)
        noise = noise / noise.std(dim=1, keepdim=True)
        late = t - 0.011 * torch.minimum((t / 0.011).floor(), p["bursts"].round() - 1)  # time since the last burst
        noise = noise * torch.exp(-late / p["hiss"]) * p["noise"] * 0.4
        fade = ((DRUM_SAMPLES / RATE - t) / 0.02).clamp(0, 1) * (t / 0.0005).clamp(max=1)
        return torch.tanh(p["drive"] * (tone + noise)) * fade

    # ---- placing

    def add(self, out, waves, rows, buses, starts, gains):
        """out[bus, MARGIN + start:] += gain · waves[row] for every event. The margins take what leaves the window."""
        width, samples = out.shape[1], waves.shape[1]
        first = buses.astype(np.int64) * width + MARGIN + np.round(starts * RATE).astype(np.int64)
        span = torch.arange(samples, device=self.device)
        for part in np.array_split(np.arange(len(rows)), len(rows) * samples // self.chunk + 1):
            index = self.tensor(first[part], torch.long)[:, None] + span
            value = waves[self.tensor(rows[part], torch.long)].mul_(self.tensor(gains[part])[:, None])
            out.view(-1).index_add_(0, index.view(-1), value.view(-1))
