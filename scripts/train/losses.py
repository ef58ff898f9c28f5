"""What the codec is trained and judged by: mel spectra at five scales, their rises, tones, and the wave itself."""

import torch
import torchaudio

from plan import FRAMES
from synth import RATE

WINDOWS = (128, 256, 512, 1024, 2048)
AUDIBLE = 1e-5  # of a mel band's magnitude, for each sample of the window: what is quieter counts as silence
ATTACKS = 512  # shortest window whose rises are compared: noise rises and falls at random within shorter ones
RISES = 2.0  # weight beside the magnitudes' 1: attacks are rare
TONES, HIGHEST = 4096, 4000  # window of the spectra in which notes a semitone apart can be told from A2 on, and Hz that they end at
WAVE = 1.0  # weight of the wave: it keeps notes in tune as well, but bits spent on phase are missing in the treble
FLOOR = 1e-4  # of log_mel


class Spectra(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mels = torch.nn.ModuleList(
            torchaudio.transforms.MelSpectrogram(RATE, n_fft=w, hop_length=w // 4, n_mels=min(80, w // 16), power=1) for w in WINDOWS
        )
        self.fine = torchaudio.transforms.Spectrogram(TONES, hop_length=TONES // 4, power=1)

    def forward(self, made, true):
        """Distance of what was made: of mel magnitudes, relative and logarithmic, averaged over the scales; of their rises from
        window to window, without which hats and other quiet attacks are smeared; of tones, which mel bands are too wide for; and of
        the wave."""
        loss = made.new_zeros(())
        for window, mel in zip(WINDOWS, self.mels):
            a, b = mel(made), mel(true)
            loss = loss + (a - b).abs().mean() / b.mean()
            a, b = (torch.log(m + AUDIBLE * window) for m in (a, b))
            loss = loss + (a - b).abs().mean()
            if window >= ATTACKS:
                loss = loss + RISES * (a.diff() - b.diff()).abs().mean()
        a, b = self.tones(made), self.tones(true)
        loss = loss + len(self.mels) * (a - b).abs().mean() / b.mean()  # their logarithms would be those of noise between the tones
        return loss / len(self.mels) + WAVE * (made - true).abs().mean() / true.abs().mean()

    def tones(self, wave):
        """Magnitudes of fine spectra up to HIGHEST."""
        return self.fine(wave)[..., : HIGHEST * TONES // RATE, :]

    def in_tune(self, made, true):
        """How alike the notes of [B, 1, n] are: correlation of the fine spectra's means over time, averaged over the batch."""
        return correlation(*(self.tones(x[:, 0]).mean(-1) for x in (made, true)))

    def log_mel(self, wave, scale=3):
        return torch.log(self.mels[scale](wave) + FLOOR)

    def attacks(self, made, true, scale=3):
        """How alike the attacks of [B, 1, n] are: correlation of the summed rises of log mel magnitudes, averaged over the batch."""
        rises = (torch.log(self.mels[scale](x[:, 0]) + AUDIBLE * WINDOWS[scale]).diff().clamp(min=0).sum(1) for x in (made, true))
        return correlation(*rises)


def correlation(*rows):
    """Of two tensors [B, n], averaged over the batch."""
    a, b = (r - r.mean(1, keepdim=True) for r in rows)
    return ((a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt().clamp(min=1e-9)).mean().item()


def si_sdr(made, true):
    """dB, averaged over the batch."""
    scale = (made * true).sum(-1, keepdim=True) / true.square().sum(-1, keepdim=True)
    error = (made - scale * true).square().sum(-1)
    return (10 * torch.log10((scale * true).square().sum(-1) / error)).mean().item()


def buzz(wave):
    """How alike the treble above 4 kHz of [B, n] is from frame to frame of the codec: its correlation with itself 20 ms later."""
    spectrum = torch.fft.rfft(wave)
    treble = torch.fft.irfft(spectrum * (torch.linspace(0, RATE / 2, spectrum.shape[-1], device=wave.device) > 4000), wave.shape[-1])
    frame = RATE // FRAMES
    now, then = treble[:, :-frame], treble[:, frame:]
    return ((now * then).sum(-1) / (now.square().sum(-1) * then.square().sum(-1)).sqrt().clamp(min=1e-12)).mean().item()
