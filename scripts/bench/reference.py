"""Times the reference implementation on the job that `segue bench` times: 6 s prompt → 24 s of new audio, guidance on.

    python scripts/bench/reference.py OUT [--steps 100]

Makes a checkpoint of musicgen-small's shape with random weights in OUT (kept, so that segue can be timed on the very same), and
times transformers on the CPU: text, encode, prefill and STEPS steps, from which the whole request is reckoned. Needs the packages
of scripts/golden/requirements.txt.
"""

import argparse
import pathlib
import time

import torch
from transformers import EncodecConfig, MusicgenConfig, MusicgenForConditionalGeneration, T5Config
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig



def small():
    """musicgen-small as published: sizes of all three parts."""
    codec = EncodecConfig(
        sampling_rate=32000, audio_channels=1, hidden_size=128, num_filters=64, upsampling_ratios=[8, 5, 4, 4], codebook_size=2048,
        codebook_dim=128, use_causal_conv=False, use_conv_shortcut=False, normalize=False, target_bandwidths=[2.2],
    )
    text = T5Config(d_model=768, d_kv=64, d_ff=3072, num_heads=12, num_layers=12, vocab_size=32128, feed_forward_proj="relu")
    decoder = MusicgenDecoderConfig(
        vocab_size=2048, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, ffn_dim=4096, num_codebooks=4,
        pad_token_id=2048, bos_token_id=2048, audio_channels=1,
    )
    return MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)


def timed(what, fn):
    start = time.perf_counter()
    result = fn()
    seconds = time.perf_counter() - start
    print(f"{what:<28} {seconds:8.3f} s", flush=True)
    return result, seconds


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--steps", type=int, default=100, help="steps to time; the request has 1203")
    o = p.parse_args()
    torch.manual_seed(1)
    model = MusicgenForConditionalGeneration(small()).eval()
    settings = model.generation_config
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = 2048
    if not (o.out / "model.safetensors").exists():
        model.save_pretrained(o.out)
    prompt = 0.1 * torch.randn(1, 1, 6 * 32000)
    ids = torch.randint(3, 32000, (1, 16))
    ask = dict(inputs=ids, attention_mask=torch.ones_like(ids), input_values=prompt, guidance_scale=3.0, do_sample=True, top_k=250)
    with torch.no_grad():
        _, few = timed("request of 8 new frames", lambda: model.generate(**ask, max_new_tokens=11))
        _, many = timed(f"request of {8 + o.steps} new frames", lambda: model.generate(**ask, max_new_tokens=11 + o.steps))
    step = (many - few) / o.steps
    print(f"{'step (and its codec frame)':<28} {step:8.3f} s\n{'request of 24 s, reckoned':<28} {few + 1192 * step:8.1f} s")


if __name__ == "__main__":
    main()
