"""The model's architecture: transformers' own MusicGen, in our sizes."""

import math
import pathlib

import torch
from transformers import EncodecConfig, MusicgenConfig, MusicgenForConditionalGeneration, T5Config
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

from plan import FRAMES
from synth import RATE

CODEBOOKS = 4
RATIOS = [8, 5, 4, 4]


def codec_config(plan):
    return EncodecConfig(
        sampling_rate=RATE, audio_channels=1, normalize=False, hidden_size=plan.latent, codebook_dim=plan.latent, num_filters=plan.filters,
        num_residual_layers=1, num_lstm_layers=2, upsampling_ratios=RATIOS, norm_type="weight_norm", pad_mode="reflect",
        use_causal_conv=False, use_conv_shortcut=False, codebook_size=plan.entries,
        target_bandwidths=[CODEBOOKS * FRAMES * math.log2(plan.entries) / 1000],
    )


def config(plan):
    text = T5Config(
        d_model=plan.text_width, d_kv=32, d_ff=2 * plan.text_width, num_heads=plan.text_width // 32, num_layers=plan.text_layers,
        vocab_size=plan.pieces, feed_forward_proj="relu", dropout_rate=0.0, use_cache=False,
    )
    decoder = MusicgenDecoderConfig(
        hidden_size=plan.width, num_hidden_layers=plan.layers, num_attention_heads=plan.heads, ffn_dim=4 * plan.width, vocab_size=plan.entries,
        pad_token_id=plan.entries, bos_token_id=plan.entries, num_codebooks=CODEBOOKS, audio_channels=1, dropout=0.0,
    )
    return MusicgenConfig(text_encoder=text, audio_encoder=codec_config(plan), decoder=decoder)


def build(plan, seed=1):
    """The whole model with the reference's random beginnings."""
    torch.manual_seed(seed)
    return MusicgenForConditionalGeneration(config(plan))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def save(path, **state):
    """A checkpoint that a run can go on from."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


def load(path, device):
    return torch.load(path, map_location=device, weights_only=True)


def device():
    return "cuda" if torch.cuda.is_available() else "cpu"
