"""Takes a checkpoint folder apart again, so that its training can go on: the way back from export.py.

    python restore.py CHECKPOINT OUT [--seed 156064]      # writes OUT/codec.pt, OUT/language.pt, OUT/tokenizer.json

The bundle itself serves: `go run ./scripts/bundled unpack weights/bundled CHECKPOINT` first. Optimisers begin afresh, and so do the
schedules of plan.py; --seed is the first piece to hear, so that what was heard before is not heard again. Then
`language.py OUT --resume` goes on with the decoder, `polish.py OUT` with the codec's.
"""

import argparse
import json
import math
import pathlib
import shutil

import torch
from transformers import MusicgenForConditionalGeneration

import model
from quantizer import Quantizer


def codec_state(codec):
    """State of codec.Codec from transformers' codec."""
    books = torch.stack([layer.codebook.embed.detach() for layer in codec.quantizer.layers])
    quantizer = Quantizer(*books.shape)
    quantizer.embed.copy_(books)
    quantizer.sums.copy_(books)
    quantizer.begun = True
    parts = {"encoder": codec.encoder, "decoder": codec.decoder, "quantizer": quantizer}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def restore(folder, out, seed):
    net = MusicgenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    begun = {"step": 0, "spent": 0, "seed": seed}
    model.save(out / "codec.pt", codec=codec_state(net.audio_encoder), **begun)
    parts = torch.nn.ModuleList([net.text_encoder, net.enc_to_dec_proj, net.decoder])
    model.save(out / "language.pt", parts=parts.state_dict(), best=math.inf, losses=[], **begun)
    shutil.copy(folder / "tokenizer.json", out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--seed", type=int, default=0, help="of the first piece to train on")
    o = p.parse_args()
    with torch.no_grad():
        restore(o.checkpoint, o.out, o.seed)
    print(json.dumps({f.name: f.stat().st_size for f in sorted(o.out.iterdir())}))


if __name__ == "__main__":
    main()
