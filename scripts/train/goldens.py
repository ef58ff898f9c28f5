"""Records what the reference gives on a checkpoint folder, so that `segue verify FOLDER` can compare.

    python goldens.py CHECKPOINT OUT        # OUT gets the checkpoint's files, golden.safetensors and golden.json

The same tensors as scripts/golden makes for its random models, with that code.
"""

import argparse
import json
import pathlib
import shutil
import sys

import tokenizers
import torch
import transformers
from safetensors.torch import save_file

sys.path.append(str(pathlib.Path(__file__).parent.parent / "golden"))
import record  # noqa: E402

TEXTS = ["lofi hip hop beat with dusty drums, 90 bpm", "dark techno", "Épic  orchestral — strings!!", "", "drum and bass 174 bpm\tacid"]
FRAMES = 12  # of the prompt


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    torch.set_num_threads(1)  # one order of sums
    shutil.copytree(o.checkpoint, o.out, dirs_exist_ok=True)
    net = transformers.MusicgenForConditionalGeneration.from_pretrained(o.out, dtype="auto").float().eval()
    tokenizer = tokenizers.Tokenizer.from_file(str(o.out / "tokenizer.json"))
    ids = [tokenizer.encode(t).ids for t in TEXTS]
    recorder = record.Recorder(net, o.seed, FRAMES)
    with torch.no_grad():
        recorder.text([ids[0], ids[1], ids[4]])
        recorder.codec()
        recorder.sampling()
        recorder.logits()
        recorder.generate()
    out = {k: (v.int() if v.dtype == torch.int64 else v.float()).contiguous().clone() for k, v in recorder.out.items()}
    save_file(out, o.out / "golden.safetensors")
    report = {"transformers": transformers.__version__, "torch": torch.__version__, "texts": TEXTS, "token_ids": ids, "near_ties": recorder.ties}
    (o.out / "golden.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({"near_ties": len(recorder.ties), "tensors": len(out)}))


if __name__ == "__main__":
    main()
