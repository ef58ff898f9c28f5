"""Does music go on? Measures of one piece of audio against the prompt before it and the music that truly follows.

All audio is float [samples] at 32 kHz. The true tempo is known, so that beats are looked for where they must be.
"""

import math

import torch
import torchaudio

RATE = 32000
HOP = 160  # 5 ms: of the onset envelope
FRAME = HOP / RATE
SILENT = 10 ** (-50 / 20)
SAME_LEVEL = 2.0  # dB
SAME_TEMPO = 0.02
SAME_PHASE = 0.030  # seconds
SEAM = 4.0  # seconds of the new part in which the beat's phase is looked at: enough beats to be sure, too few to drift

_onset_mel = torchaudio.transforms.MelSpectrogram(RATE, n_fft=1024, hop_length=HOP, n_mels=64, power=1)
_colour_mel = torchaudio.transforms.MelSpectrogram(RATE, n_fft=2048, hop_length=512, n_mels=80, power=1)


def onsets(audio):
    """Rise of the log-mel spectrum every 5 ms, without its slow mean."""
    rise = torch.log(_onset_mel(audio) + 1e-2).diff(dim=1).clamp(min=0).sum(0)
    slow = torch.nn.functional.avg_pool1d(rise[None], 101, 1, 50, count_include_pad=False)[0]
    return (rise - slow).clamp(min=0)


def correlated(onset):
    """Autocorrelation of onsets by lag, 1 at lag 0."""
    o = onset - onset.mean()
    spectrum = torch.fft.rfft(o, 2 * len(o))
    correlation = torch.fft.irfft(spectrum.abs().square())[: len(o)] / (torch.arange(len(o), 0, -1) / len(o))
    return correlation / correlation[0].clamp(min=1e-9)


def beat_strength(correlation, bpm):
    """The autocorrelation at the true beat, or within 2 % of it."""
    true = 60 / bpm / FRAME
    return correlation[math.floor(true * (1 - SAME_TEMPO)) : math.ceil(true * (1 + SAME_TEMPO)) + 1].max().item()


def beat_period(correlation, bpm):
    """Seconds between beats: the strongest autocorrelation of the onsets within an eighth of the true period."""
    true = 60 / bpm / FRAME
    lags = torch.arange(math.ceil(true * 0.875), math.floor(true * 1.125) + 1)
    best = lags[correlation[lags].argmax()].item()
    a, b, c = correlation[best - 1 : best + 2].tolist()
    bend = a - 2 * b + c
    peak = best + (0.5 * (a - c) / bend if bend < 0 else 0)
    return peak * FRAME if b > 0.05 else math.inf


def tempo_kept(correlation, bpm):
    return abs(beat_period(correlation, bpm) * bpm / 60 - 1) <= SAME_TEMPO


def beat_profile(onset, bpm, begin):
    """Onset strength over the phase of a beat, in 5 ms; begin: seconds of the first onset on the clock of the beats."""
    period = 60 / bpm
    bins = round(period / FRAME)
    phase = ((begin + torch.arange(len(onset)) * FRAME) % period / period * bins).long().clamp(max=bins - 1)
    return torch.zeros(bins).index_add_(0, phase, onset)


def phase_error(prompt, onset, bpm):
    """Seconds by which the beats of onsets that follow prompt are early or late after the seam."""
    a, b = beat_profile(onsets(prompt), bpm, 0), beat_profile(onset[: int(SEAM / FRAME)], bpm, len(prompt) / RATE)
    match = torch.fft.irfft(torch.fft.rfft(b) * torch.fft.rfft(a).conj(), len(a))
    late = match.argmax().item()
    return (late if late <= len(a) / 2 else late - len(a)) * FRAME


def chroma(audio):
    """Share of the twelve pitch classes between 55 Hz and 2 kHz."""
    power = torch.stft(audio, 8192, 2048, window=torch.hann_window(8192), return_complex=True).abs().mean(1)
    f = torch.linspace(0, RATE / 2, len(power))
    inside = (f > 55) & (f < 2000)
    classes = torch.round(12 * torch.log2(f[inside] / 440)).long() % 12
    return torch.zeros(12).index_add_(0, classes, power[inside])


def key_kept(prompt, audio):
    """Correlation of the chroma, -1 to 1."""
    return torch.corrcoef(torch.stack([chroma(prompt), chroma(audio)]))[0, 1].item()


def level(audio):
    return 20 * math.log10(audio.square().mean().sqrt().item() + 1e-9)


def silent(audio):
    """Is any second of it below -50 dBFS?"""
    seconds = audio[: len(audio) // RATE * RATE].view(-1, RATE)
    return bool((seconds.square().mean(1).sqrt() < SILENT).any())


def colour(audio):
    """An embedding of what is heard: mean and spread over time of 80 log-mel bands."""
    bands = torch.log(_colour_mel(audio) + 1e-2)
    return torch.cat([bands.mean(1), bands.std(1)])


def distance(audio, true):
    return (colour(audio) - colour(true)).abs().mean().item()


def measure(prompt, audio, true, bpm):
    """All measures of one continuation."""
    onset = onsets(audio)
    correlation = correlated(onset)
    return {
        "tempo": float(tempo_kept(correlation, bpm)), "beat": beat_strength(correlation, bpm), "phase": float(abs(phase_error(prompt, onset, bpm)) <= SAME_PHASE),
        "chroma": key_kept(prompt, audio), "level": float(abs(level(audio) - level(true)) <= SAME_LEVEL),
        "silent": float(silent(audio)), "distance": distance(audio, true),
    }
