"""Tiny random MusicGen models, and their files in the layouts that users have.

The architecture is the reference's own; only sizes and values are ours. Values are drawn from the seed, scaled so that
every layer matters and nothing saturates, and rounded to the stored dtype before anything is computed: what the files
hold is exactly what the results were made with.
"""

import json
import math

import torch
from safetensors.torch import save_file
from transformers import (
    EncodecConfig, MusicgenConfig, MusicgenForConditionalGeneration, MusicgenMelodyConfig,
    MusicgenMelodyForConditionalGeneration, T5Config,
)
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig
from transformers.models.musicgen_melody.configuration_musicgen_melody import MusicgenMelodyDecoderConfig

CODEBOOKS = 4  # of one channel
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def configuration(variant, entries, sizes):
    """The model's configuration: the real models' structure in small, overridden by sizes["section.field"]."""
    channels = 2 if variant == "stereo" else 1
    text = dict(d_model=48, d_kv=8, d_ff=96, num_heads=6, num_layers=3, vocab_size=320)
    audio = dict(
        sampling_rate=32000, hidden_size=24, num_filters=6, upsampling_ratios=[8, 5, 4, 4], codebook_size=entries,
        use_causal_conv=False, use_conv_shortcut=False, normalize=False,
    )
    decoder = dict(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=4, ffn_dim=128, vocab_size=entries, pad_token_id=entries,
        bos_token_id=entries, num_codebooks=CODEBOOKS * channels, audio_channels=channels, dropout=0.0,
    )
    sections = {"text_encoder": text, "audio_encoder": audio, "decoder": decoder}
    for path, value in sizes.items():
        section, field = path.split(".")
        sections[section][field] = value
    rate = math.ceil(audio["sampling_rate"] / math.prod(audio["upsampling_ratios"]))
    audio["target_bandwidths"] = [CODEBOOKS * rate * math.ceil(math.log2(entries)) / 1000]
    codec = EncodecConfig(**audio)
    assert codec.num_quantizers == CODEBOOKS, (codec.num_quantizers, audio)

    whole, part = (MusicgenConfig, MusicgenDecoderConfig)
    if variant == "melody":
        whole, part = (MusicgenMelodyConfig, MusicgenMelodyDecoderConfig)
    t5 = T5Config(dropout_rate=0.0, feed_forward_proj="relu", use_cache=False, **text)
    return whole(text_encoder=t5, audio_encoder=codec, decoder=part(**decoder))


def build(config, seed, dtype, norm):
    """A model with random weights, float32, every value that will be stored exactly representable in dtype."""
    kind = MusicgenMelodyForConditionalGeneration if config.model_type == "musicgen_melody" else MusicgenForConditionalGeneration
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    with torch.no_grad():
        for name in sorted(state):
            if not name.endswith(".original0"):
                state[name].copy_(draw(name, state[name].shape, generator).to(DTYPES[dtype]))
        scale_filters(model, generator, DTYPES[dtype], norm)
        table = model.decoder.model.decoder.embed_positions.weights  # not stored, but held in the model's dtype too
        table.copy_(table.to(DTYPES[dtype]))
    settings = model.generation_config
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = config.decoder.pad_token_id
    settings.do_sample, settings.guidance_scale, settings.max_length = True, 3.0, 1500
    return model


def scale_filters(model, generator, dtype, norm):
    """Weight norm: each filter is v scaled to length g; g is near v's own length. The last filter is kept small, so that
    audio stays near full scale. A folded file holds the product itself, rounded: v becomes that, and g its length."""
    state, last = model.state_dict(), len(model.audio_encoder.decoder.layers) - 1
    for name in sorted(state):
        if not name.endswith(".original0"):
            continue
        g, v = state[name], state[name[:-1] + "1"]
        length = v.flatten(1).norm(dim=1).view(g.shape)
        factor = 0.8 + 0.4 * torch.rand(g.shape, generator=generator)
        if f"audio_encoder.decoder.layers.{last}." in name:
            factor *= 0.03
        if norm == "folded":
            v.copy_((v * factor).to(dtype))
            g.copy_(v.flatten(1).norm(dim=1).view(g.shape))
        else:
            g.copy_((length * factor).to(dtype))


def draw(name, shape, generator):
    """Random values for one tensor: unit variance in, about unit variance out."""
    x = torch.randn(shape, generator=generator)
    if name.endswith((".inited", ".cluster_size")):
        return torch.ones(shape)
    if ".codebook." in name:
        return 0.5 * x
    if "norm" in name:
        return 0.2 * x + (1 if name.endswith("weight") else 0)
    if "bias" in name.rsplit(".", 1)[-1]:
        return 0.1 * x
    if "embed_tokens" in name or ".shared." in name or "relative_attention_bias" in name:
        return x
    fan = math.prod(shape[1:])
    if "audio_encoder.decoder" in name and len(shape) == 3 and shape[2] % 2 == 0:
        fan = 2 * shape[0]  # transposed: [in, out, 2·stride], two taps of every input reach an output
    return 1.4 / math.sqrt(fan) * x


def tensors(model, dtype, norm, positions):
    """The checkpoint's tensors by name. norm spells weight norm: "g", "parametrizations" or "folded"."""
    out, state = {}, model.state_dict()
    for name, value in state.items():
        prefix, _, part = name.partition(".parametrizations.weight.")
        if not part or norm == "parametrizations":
            out[name] = value
        elif norm == "g":
            out[prefix + (".weight_g" if part == "original0" else ".weight_v")] = value
        elif part == "original1":
            out[prefix + ".weight"] = value  # folded: see scale_filters
    out.pop("text_encoder.encoder.embed_tokens.weight", None)  # an alias of shared.weight
    out = {name: value.to(DTYPES[dtype]).contiguous().clone() for name, value in out.items()}
    if positions:
        table = model.decoder.model.decoder.embed_positions.weights
        out["decoder.model.decoder.embed_positions.weights"] = table.to(DTYPES[dtype]).contiguous()
    return out


def save(model, folder, dtype, norm, shards, positions):
    """Writes config.json, generation_config.json and the weights, whole or in shards with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.dtype = dtype
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    weights, metadata = tensors(model, dtype, norm, positions), {"format": "pt"}
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata)
        return
    names, index = sorted(weights), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = names[len(names) * i // shards : len(names) * (i + 1) // shards]
        save_file({n: weights[n] for n in part}, folder / file, metadata)
        index |= {n: file for n in part}
    size = sum(w.numel() * w.element_size() for w in weights.values())
    body = {"metadata": {"total_size": size}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(body, indent=1) + "\n")
