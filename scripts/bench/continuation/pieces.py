"""Held-out pieces: what is continued, what truly follows, and the codec's own copy of that, which no continuation can beat."""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import EncodecConfig, EncodecModel

sys.path.append(str(pathlib.Path(__file__).parents[2] / "train"))
import compose  # noqa: E402
import describe  # noqa: E402
import losses  # noqa: E402
import synth  # noqa: E402

PROMPT, NEW = 6.0, 6.0  # seconds
FIRST = compose.HELD_OUT + 10000  # seeds that neither training nor its held-out loss has seen
TOGETHER = 10  # pieces composed at a time


def values(tensors):
    """Float tensors by name: a bundle's 8-bit matrices are multiplied with their scales, one for each 32 inputs."""
    out = {}
    for name, t in tensors.items():
        if t.dtype == torch.int8:
            out[name] = t.float() * tensors[name + ".scale"].float().repeat_interleave(32, 1)[:, : t.shape[1]]
        elif not name.endswith(".scale"):
            out[name] = t.float()
    return out


def codec(folder):
    """The codec of a checkpoint folder, bundled or not."""
    config = json.loads((folder / "config.json").read_text())["audio_encoder"]
    net, prefix = EncodecModel(EncodecConfig(**config)), "audio_encoder."
    tensors = {k.removeprefix(prefix): v for k, v in values(load_file(folder / "model.safetensors")).items() if k.startswith(prefix)}
    missing, unknown = net.load_state_dict(tensors, strict=False)
    if unknown or any(not name.endswith(".embed_avg") for name in missing):
        raise SystemExit(f"{folder}: the codec's tensors do not fit its configuration: missing {missing}, unknown {unknown}")
    return net.eval()


class Pieces:
    """Prompts, truths and the codec's copies of the truths, [samples] each, with text and tempo."""

    def __init__(self, count, net):
        machine, cut = synth.Synth(), int(PROMPT * synth.RATE)
        spectra, alone = losses.Spectra(), []
        self.prompts, self.truths, self.copies, self.texts, self.bpm = [], [], [], [], []
        for first in range(FIRST, FIRST + count, TOGETHER):
            audio, made = compose.compose(machine, range(first, min(first + TOGETHER, FIRST + count)), PROMPT + NEW)
            for whole, piece in zip(audio, made):
                copy = net(whole[None, None]).audio_values[0, 0, : len(whole)]
                alone.append(copied(spectra, copy[None], whole[None]))
                self.prompts.append(whole[:cut])
                self.truths.append(whole[cut:])
                self.copies.append(copy[cut:])
                self.texts.append(describe.describe(describe.facts(piece), np.random.default_rng([piece.seed, 2])))
                self.bpm.append(piece.bpm)
        self.codec = {key: sum(a[key] for a in alone) / count for key in alone[0]}

    def compared(self):
        """What a continuation is compared with, by name."""
        return {
            "the truth": self.truths, "codec's copy of the truth": self.copies, "prompt looped": [looped(p) for p in self.prompts],
            "another piece": self.truths[1:] + self.truths[:1],
        }


def copied(spectra, copy, whole):
    """What the codec alone does to music [1, samples]."""
    return {
        "si_sdr": losses.si_sdr(copy, whole), "log_mel": (spectra.log_mel(copy) - spectra.log_mel(whole)).abs().mean().item(),
        "buzz": losses.buzz(copy), "true_buzz": losses.buzz(whole),
    }


def looped(prompt):
    """The prompt again, as a player would loop it that knows nothing of bars."""
    return prompt.repeat(2)[: int(NEW * synth.RATE)]
