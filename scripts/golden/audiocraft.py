"""The language model as audiocraft exports it: state_dict.bin, and a compression_state_dict.bin that is a pointer.

T5, tokenizer and codec are not in these files; they come from a checkpoint in the Hugging Face layout.
"""

import torch

YAML = """solver: musicgen
sample_rate: {rate}
channels: {channels}
compression_model_checkpoint: //pretrained/facebook/encodec_32khz
compression_model_n_q: null
interleave_stereo_codebooks:
  use: {stereo}
  per_timestep: false
dataset:
  segment_duration: 30
classifier_free_guidance:
  training_dropout: 0.3
  inference_coef: 3.0
codebooks_pattern:
  modeling: delay
  delay:
    delays: {delays}
    flatten_first: 0
    empty_initial: 0
conditioners:
  description:
    model: t5
    t5:
      name: t5-base
      finetune: false
fuser:
  cross_attention_pos_emb: false
  sum: []
  prepend: []
  cross: [description]
  input_interpolate: []
lm_model: transformer_lm
transformer_lm:
  dim: {dim}
  num_heads: {heads}
  num_layers: {layers}
  hidden_scale: {scale}
  n_q: {codebooks}
  card: {card}
  dropout: 0.0
  activation: gelu
  norm_first: true
  bias_ff: false
  bias_attn: false
  bias_proj: false
  positional_embedding: sin
  causal: true
  layer_scale: null
"""

# One layer's names, audiocraft's ← ours; the two attentions store q, k and v stacked as in_proj_weight.
LAYER = {
    "norm1": "self_attn_layer_norm", "norm_cross": "encoder_attn_layer_norm", "norm2": "final_layer_norm",
    "linear1": "fc1", "linear2": "fc2",
    "self_attn.out_proj": "self_attn.out_proj", "cross_attention.out_proj": "encoder_attn.out_proj",
}


def state(model):
    """audiocraft's names and float16 values of the language model and the text projection."""
    source, config = model.state_dict(), model.config.decoder
    out = {f"emb.{k}.weight": source[f"decoder.model.decoder.embed_tokens.{k}.weight"] for k in range(config.num_codebooks)}
    for i in range(config.num_hidden_layers):
        ours, theirs = f"decoder.model.decoder.layers.{i}.", f"transformer.layers.{i}."
        for theirs_attention, attention in (("self_attn", "self_attn"), ("cross_attention", "encoder_attn")):
            stack = [source[f"{ours}{attention}.{p}_proj.weight"] for p in "qkv"]
            out[f"{theirs}{theirs_attention}.in_proj_weight"] = torch.cat(stack)
        for new, old in LAYER.items():
            for part in ("weight", "bias"):
                if f"{ours}{old}.{part}" in source:
                    out[f"{theirs}{new}.{part}"] = source[f"{ours}{old}.{part}"]
    for part in ("weight", "bias"):
        out[f"out_norm.{part}"] = source[f"decoder.model.decoder.layer_norm.{part}"]
        out[f"condition_provider.conditioners.description.output_proj.{part}"] = source[f"enc_to_dec_proj.{part}"]
    for k in range(config.num_codebooks):
        out[f"linears.{k}.weight"] = source[f"decoder.lm_heads.{k}.weight"]
    return {name: value.half().clone() for name, value in out.items()}


def save(model, folder):
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.decoder
    repeat = config.audio_channels
    text = YAML.format(
        rate=model.config.audio_encoder.sampling_rate, channels=repeat, stereo=str(repeat == 2).lower(),
        delays=[k // repeat for k in range(config.num_codebooks)], dim=config.hidden_size, heads=config.num_attention_heads,
        layers=config.num_hidden_layers, scale=config.ffn_dim // config.hidden_size, codebooks=config.num_codebooks,
        card=config.vocab_size,
    )
    version = {"version": "1.4.0a1", "exported": True}
    torch.save({"best_state": state(model), "xp.cfg": text} | version, folder / "state_dict.bin")
    torch.save({"pretrained": "facebook/encodec_32khz"} | version, folder / "compression_state_dict.bin")
