"""Prints what is true of a trained model and its bundle, as JSON for the card.

    python facts.py MODEL BUNDLE        # MODEL: what make.sh made
"""

import argparse
import json
import math
import pathlib

from safetensors import safe_open

import model

KEPT = ("step", "spent", "windows", "seed", "si_sdr", "log_mel", "attacks", "in_tune", "losses", "polished")  # of a stage's checkpoint
PARTS = {"decoder": ("decoder.", "enc_to_dec_proj."), "text encoder": ("text_encoder.",), "codec": ("audio_encoder.",)}
NO_PARAMETERS = (".scale", ".embed_avg", ".cluster_size", ".inited")


def stage(path):
    """How long a stage trained, and what it reached on held-out music: of its checkpoint or, where that stayed on the machine that
    trained, of its report beside it (codec.json for codec.pt)."""
    report = path.with_suffix(".json")
    if report.exists():
        return json.loads(report.read_text())
    return {k: v for k, v in model.load(path, "cpu").items() if k in KEPT}


def parameters(bundle):
    """Numbers that were trained, by part."""
    counts = dict.fromkeys(PARTS, 0)
    with safe_open(bundle / "model.safetensors", "numpy") as file:
        for name in file.keys():
            part = next(p for p, heads in PARTS.items() if name.startswith(heads))
            shape = file.get_slice(name).get_shape()
            if not name.endswith(NO_PARAMETERS):
                counts[part] += math.prod(shape)
    return counts


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("bundle", type=pathlib.Path)
    o = p.parse_args()
    config = json.loads((o.bundle / "config.json").read_text())
    decoder, text, codec = (config[k] for k in ("decoder", "text_encoder", "audio_encoder"))
    facts = {
        "codec": stage(o.model / "codec.pt"), "language": stage(o.model / "language.pt"), "parameters": parameters(o.bundle),
        "bytes": sum((o.bundle / name).stat().st_size for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")),
        "window": decoder["segment_duration"], "layers": decoder["num_hidden_layers"], "width": decoder["hidden_size"], "heads": decoder["num_attention_heads"],
        "text_layers": text["num_layers"], "text_width": text["d_model"], "filters": codec["num_filters"], "entries": codec["codebook_size"],
    }
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
