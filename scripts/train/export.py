"""Puts the trained parts together as a MusicGen checkpoint in the Hugging Face layout, and tries it there.

    python export.py IN OUT --plan gpu

Reads codec.pt, language.pt and tokenizer.json from IN. Weights are stored as float16, in the spelling of
transformers 5 (weight norm as parametrizations: it reads no other without making filters up). The window that was
trained on goes into decoder.segment_duration.
"""

import argparse
import json
import pathlib
import shutil
import warnings

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, MusicgenForConditionalGeneration

import model
from codec import Codec
from plan import FRAMES, PLANS


# What a request gets that names nothing: it goes into generation_config.json, and readers follow it. The width of a draw
# decided how well a poorer model kept time: of a hundred held-out pieces (SPEED.md, 2026-11-25) the beat's phase in 54 from
# 250 codes, which is MusicGen's habit, in 65 from 20, in 58 from 8. To the bundled one it matters little between 20 and 250
# (2026-11-28); of two hundreds, temperature 0.8 is the one setting that kept the tempo in 90 and the phase in 80 of both.
# Guidance is MusicGen's.
SAMPLING = {"temperature": 0.8, "top_k": 20, "guidance_scale": 3.0}


def assemble(plan, folder):
    """The whole model with trained weights."""
    net, codec = model.build(plan), Codec(plan)
    codec.load_state_dict(model.load(folder / "codec.pt", "cpu")["codec"])
    net.audio_encoder.encoder.load_state_dict(codec.encoder.state_dict())
    net.audio_encoder.decoder.load_state_dict(codec.decoder.state_dict())
    for layer, rows in zip(net.audio_encoder.quantizer.layers, codec.quantizer.embed):
        layer.codebook.embed.copy_(rows)
        layer.codebook.embed_avg.copy_(rows)  # nobody reads it, but transformers wants it to be there
    parts = torch.nn.ModuleList([net.text_encoder, net.enc_to_dec_proj, net.decoder])
    parts.load_state_dict(model.load(folder / "language.pt", "cpu")["parts"])
    return net.eval()


def tensors(net):
    """Everything that a reader needs, by name, as float16."""
    alias = "text_encoder.encoder.embed_tokens.weight"  # of text_encoder.shared
    return {name: value.half().contiguous().clone() for name, value in net.state_dict().items() if name != alias}


def write(net, plan, source, folder):
    folder.mkdir(parents=True, exist_ok=True)
    net.config.dtype = "float16"
    net.config.architectures = [type(net).__name__]
    net.config.decoder.segment_duration = plan.language.seconds
    settings = net.generation_config
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = plan.entries
    settings.do_sample, settings.max_length = True, int(plan.language.seconds * FRAMES)
    settings.update(**SAMPLING)
    net.config.save_pretrained(folder)
    settings.save_pretrained(folder)
    save_file(tensors(net), folder / "model.safetensors", {"format": "pt"})
    shutil.copy(source / "tokenizer.json", folder)


def try_there(folder):
    """transformers loads the folder without complaint about weights, and plays two seconds that are not silent."""
    net, report = MusicgenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    odd = {kind: sorted(names) for kind, names in report.items() if names}
    if odd:
        raise SystemExit(f"export: transformers does not take the tensors as they are: {odd}")
    torch.manual_seed(1)
    text = AutoTokenizer.from_pretrained(folder)(["driving techno, 130 bpm"], return_tensors="pt")
    audio = net.generate(**text, max_new_tokens=103, do_sample=True)[0, 0]
    return {"samples": len(audio), "rms": round(audio.square().mean().sqrt().item(), 4)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source", type=pathlib.Path)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--plan", choices=PLANS, required=True)
    o = p.parse_args()
    warnings.simplefilter("ignore")
    plan = PLANS[o.plan]
    with torch.no_grad():
        write(assemble(plan, o.source), plan, o.source, o.folder)
        size = sum(f.stat().st_size for f in o.folder.iterdir())
        print(json.dumps({"bytes": size} | try_there(o.folder), indent=1))


if __name__ == "__main__":
    main()
