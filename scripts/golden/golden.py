"""Makes a folder of goldens: a tiny random MusicGen checkpoint and what the reference implementation gives on it.

    python golden.py OUT --variant stereo --seed 7 --set decoder.hidden_size=48 --set audio_encoder.pad_mode='"constant"'

testdata/goldens/README.md tells what the folders hold; make.sh makes exactly those.
"""

import argparse
import json
import pathlib

import tokenizers
import torch
import transformers
from safetensors.torch import save_file

import audiocraft
import melody
import model
import record
import tokenizer

TEXTS = [
    "lofi hip hop beat with dusty drums, 90 bpm",
    "dark techno",
    "Épic  orchestral — strings & choir!!",
    "",
    "drum and bass 174 bpm   amen break\twith ﬁzzy ａcid synth",
    "日本 ambient ½ pad",
]
BATCH = (0, 1, 4)  # the texts that are padded into one batch


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--variant", choices=["mono", "stereo", "melody"], default="mono")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--dtype", choices=model.DTYPES, default="float16", help="of the stored weights")
    p.add_argument("--entries", type=int, default=128, help="codebook size")
    p.add_argument("--frames", type=int, default=31, help="of the prompt; what is made is a little longer")
    p.add_argument("--texts", type=json.loads, default=TEXTS, help="JSON list of at least five")
    p.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=JSON", help="change the configuration")
    p.add_argument("--norm", choices=["g", "parametrizations", "folded"], default="g", help="spelling of weight norm")
    p.add_argument("--positions", action="store_true", help="store embed_positions.weights, as older files do")
    p.add_argument("--tokenizer", type=pathlib.Path, help="folder whose tokenizer files to use; absent: train new ones")
    p.add_argument("--metaspace", choices=["old", "new"], default="old", help="spelling in a new tokenizer.json")
    p.add_argument("--sharded", type=pathlib.Path, help="also write the same weights in four shards to this folder")
    p.add_argument("--audiocraft", type=pathlib.Path, help="also write audiocraft's export to this folder")
    return p.parse_args()


def write_tokenizer(o):
    """Returns the ids of every text; both files must agree on them."""
    if o.tokenizer:
        spiece = (o.tokenizer / "spiece.model").read_bytes()
        text = (o.tokenizer / "tokenizer.json").read_text(encoding="utf-8")
    else:
        spiece = tokenizer.train(o.seed, 120)
        text = tokenizer.to_json(spiece, o.metaspace)
    (o.out / "spiece.model").write_bytes(spiece)
    (o.out / "tokenizer.json").write_text(text, encoding="utf-8")
    fast = tokenizers.Tokenizer.from_str(text)
    slow = tokenizer.sentencepiece.SentencePieceProcessor(model_proto=spiece)
    ids = [fast.encode(text).ids for text in o.texts]
    assert ids == [slow.encode(text) + [1] for text in o.texts], "the two tokenizer files disagree"
    return ids


def main():
    o = options()
    torch.set_num_threads(1)  # one order of sums
    o.out.mkdir(parents=True, exist_ok=True)
    ids = write_tokenizer(o)
    sizes = {path: json.loads(value) for path, _, value in (s.partition("=") for s in o.set)}
    net = model.build(model.configuration(o.variant, o.entries, sizes), o.seed, o.dtype, o.norm)
    model.save(net, o.out, o.dtype, o.norm, 1, o.positions)
    if o.sharded:
        model.save(net, o.sharded, o.dtype, "parametrizations", 4, o.positions)
    if o.audiocraft:
        audiocraft.save(net, o.audiocraft)
    r = run(o, net, ids)
    out = {k: v.int() if v.dtype == torch.int64 else v.float() for k, v in r.out.items()}
    out = {k: v.contiguous().clone() for k, v in out.items()}
    save_file(out, o.out / "golden.safetensors")
    shapes = {k: [str(v.dtype).removeprefix("torch."), list(v.shape)] for k, v in out.items()}
    report = {
        "transformers": transformers.__version__, "torch": torch.__version__, "variant": o.variant, "seed": o.seed,
        "texts": o.texts, "token_ids": ids, "near_ties": r.ties, "tensors": shapes,
    }
    (o.out / "golden.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@torch.no_grad()
def run(o, net, ids):
    if o.variant == "melody":
        r = melody.MelodyRecorder(net, o.seed, o.frames)
        r.features()
        r.extractor.save_pretrained(o.out)
        r.text(ids[:1])
    else:
        r = record.Recorder(net, o.seed, o.frames)
        r.text([ids[i] for i in BATCH])
        r.codec()
        r.sampling()
    r.logits()
    r.generate()
    return r


if __name__ == "__main__":
    main()
