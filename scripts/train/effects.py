"""From dry buses to a finished mix, for a batch of pieces: side-chain, echo, reverb, tone, compression, level."""

import torch
import torch.nn.functional as F

from synth import RATE

CONTROL = 64  # samples per value of slow curves
MIX = -14  # LUFS before the compressor


def mixdown(buses, pieces, scores, noise):
    """[B, samples] from dry buses [B, 3, samples]; noise is what impulse responses are cut from."""
    mix = {k: buses.new_tensor([p.mix[k] for p in pieces])[:, None] for k in pieces[0].mix}
    drums, bass, rest = buses.unbind(1)
    duck = sidechain(pieces, scores, buses.shape[-1], buses.device)
    rest = echo(rest * duck, pieces, mix["echo"])
    send = rest + 0.25 * drums
    wet = reverb(send, mix["decay"], noise, [p.seed for p in pieces])
    whole = drums + bass * duck + rest + mix["room"] * wet
    whole = level(tone(whole, mix["tilt"]), MIX)
    return limit(level(compress(whole, mix["press"]), mix["loudness"]))


def sidechain(pieces, scores, samples, device):
    """Gain [B, samples] that dips at every kick and recovers."""
    count = samples // CONTROL + 2
    times = torch.arange(count) * (CONTROL / RATE)
    curves = torch.ones(len(pieces), count)
    for row, piece, (_, hits) in zip(curves, pieces, scores):
        kicks = torch.tensor(sorted(start for start, _, voice in hits if voice == "kick"))
        if len(kicks):
            last = torch.searchsorted(kicks, times, right=True) - 1
            since = (times - kicks[last.clamp(min=0)]).clamp(min=0)  # zero before the first, where the dip is masked
            row -= piece.mix["duck"] * torch.exp(-since / piece.mix["recover"]) * (last >= 0)
    return F.interpolate(curves.to(device)[:, None], size=count * CONTROL, mode="linear")[:, 0, :samples]


def echo(x, pieces, gain):
    """Three repeats, a dotted eighth apart."""
    out = x.clone()
    for row, piece, g in zip(range(len(x)), pieces, gain[:, 0].tolist()):
        delay = int(3 * piece.step * RATE)
        for i in range(1, 4):
            if g > 0 and i * delay < x.shape[1]:
                out[row, i * delay :] += g ** i * x[row, : -i * delay]
    return out


def reverb(x, decay, noise, seeds):
    """Convolution with noise that dies away, darkened; decay: seconds in which it falls by 60 dB."""
    samples = int(1.6 * RATE)
    t = torch.arange(samples, device=x.device) / RATE
    tails = torch.stack([noise[(s * 7919) % (1 << 19) :][:samples] for s in seeds])
    tails = F.avg_pool1d(tails[:, None], 3, 1, 1)[:, 0]
    impulse = tails * torch.exp(-6.9 * t / decay) * (t > 0.012)
    impulse = impulse / impulse.norm(dim=1, keepdim=True)
    n = 1 << (x.shape[1] + samples - 1).bit_length()
    return torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(impulse, n), n)[:, : x.shape[1]]


def tone(x, tilt):
    """Tilts the spectrum by so many dB per octave about 1 kHz, within bounds, and drops what is below 25 Hz."""
    spectrum = torch.fft.rfft(x)
    f = torch.linspace(0, RATE / 2, spectrum.shape[1], device=x.device)
    octaves = torch.log2(f.clamp(40, 12000) / 1000)
    return torch.fft.irfft(spectrum * 10 ** (tilt * octaves / 20) * (f > 25), x.shape[1])


def compress(x, ratio):
    """Turns down what is louder than -16 dB in windows of 40 ms."""
    power = F.avg_pool1d(x[:, None] ** 2, 1280, CONTROL * 5, 640)
    gain = (power / 10 ** -1.6).clamp(min=1) ** (0.5 * (1 / ratio[:, :, None] - 1))
    return x * F.interpolate(gain, size=x.shape[1], mode="linear")[:, 0]


def loudness(x):
    """Loudness [B, 1] in LUFS, ungated: power under the K-weighting curve."""
    spectrum = torch.fft.rfft(x)
    f = torch.linspace(0, RATE / 2, spectrum.shape[1], device=x.device)
    shelf = 10 ** (4 / 20 * torch.sigmoid((torch.log2(f.clamp(min=1)) - 10.7) * 2.2))
    weight = shelf * (f / 38) ** 2 / (1 + (f / 38) ** 2)
    power = 2 * (spectrum.abs() * weight).square().sum(1, keepdim=True) / x.shape[1] ** 2
    return 10 * torch.log10(power + 1e-9) - 0.691


def level(x, target):
    return x * 10 ** ((target - loudness(x)) / 20)


def limit(x):
    """Linear up to 0.7, then a soft bend that stays below full scale."""
    over = (x.abs() - 0.7).clamp(min=0)
    return torch.where(x.abs() <= 0.7, x, x.sign() * (0.7 + 0.28 * torch.tanh(over / 0.28)))
