"""What the codec is trained and judged by: mel spectra at five scales, and the wave itself."""

import torch
import torch.nn.functional as F
import torchaudio

from plan import FRAMES
from synth import RATE

WINDOWS = (128, 256, 512, 1024, 2048)
FLOOR = 1e-4


class Spectra(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mels = torch.nn.ModuleList(
            torchaudio.transforms.MelSpectrogram(RATE, n_fft=w, hop_length=w // 4, n_mels=min(80, w // 16), power=1) for w in WINDOWS
        )

    def forward(self, made, true):
        """Relative and logarithmic distance of mel magnitudes, averaged over the scales."""
        loss = made.new_zeros(())
        for mel in self.mels:
            a, b = mel(made), mel(true)
            loss = loss + (a - b).abs().mean() / b.mean() + (torch.log(a + FLOOR) - torch.log(b + FLOOR)).abs().mean()
        return loss / len(self.mels)

    def log_mel(self, wave, scale=3):
        return torch.log(self.mels[scale](wave) + FLOOR)


def wave_loss(made, true):
    return F.l1_loss(made, true) / true.abs().mean()


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
