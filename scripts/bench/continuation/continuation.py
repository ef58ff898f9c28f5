"""Plays on from held-out pieces with segue and measures how well the music goes on.

    python continuation.py --model weights/bundled [--segue ./segue] [--pieces 100] [--json FILE] [--keep FOLDER]
    python continuation.py --model DIR --run guidance=2,temperature=0.9 --run guidance=2,quantization=q4

Every --run is a row of the table, made with those parameters of the method `continue`; without any, the rows are f32, f16, q8
and q4, with guidance 1 and 3. What a row does not name is as the model's generation_config.json says. Rows to compare with:
the true continuation, the codec's own copy of it (the ceiling), the prompt looped, and another piece (what chance gives).
--json keeps the figures for the model card.
"""

import argparse
import hashlib
import json
import pathlib
import statistics
import sys
import tempfile
import time

import torch

import measures
from pieces import NEW, PROMPT, Pieces, codec, compose
from tables import table, verdicts
from worker import Workers

# A precision is held in all of the decoder: weights and cache. f32 is exact.
PRECISIONS = {
    "f32": "quantization=f32,kvCache=f32,codec=none", "f16": "quantization=f16,kvCache=f16",
    "q8": "quantization=q8,kvCache=q8", "q4": "quantization=q4,kvCache=q8",
}
# As the model made it: neither brought to the prompt's level nor faded in.
BARE = {"promptSeconds": PROMPT, "seconds": NEW, "level": "none", "crossfadeMs": 0, "bits": 16, "overwrite": True}


def runs(asked):
    """Parameters of each row by its name."""
    if asked:
        return {run.replace(",", ", "): parameters(run) for run in asked}
    return {f"{name}, guidance {g}": parameters(f"{p},guidance={g}") for g in (1, 3) for name, p in PRECISIONS.items()}


def parameters(text):
    """{"guidance": 1, "greedy": True, "quantization": "q8"} from "guidance=1,greedy=true,quantization=q8"."""
    pairs = (pair.split("=", 1) for pair in text.split(",") if pair)
    return {k: json.loads(v) if v in ("true", "false") or v.replace(".", "", 1).isdigit() else v for k, v in pairs}


def row(segue, pieces, made):
    """Means of the measures of one continuation for each piece."""
    with torch.no_grad():
        rows = segue.map(lambda four: measures.measure(*four), zip(pieces.prompts, made, pieces.truths, pieces.bpm))
    return {key: statistics.mean(r[key] for r in rows) for key in rows[0]}


def continuations(segue, pieces, folder, params):
    """What segue makes of every prompt."""

    def one(i):
        path = folder / f"{i}.wav"
        asked = {"path": str(folder / f"prompt-{i}.wav"), "outputPath": str(path), "text": pieces.texts[i], "seed": i}
        segue.ask("continue", asked | BARE | params)
        return compose.read_wav(path)

    return segue.map(one, range(len(pieces.texts)))


def begun(file, report):
    """The rows of an earlier call with --json FILE for the same model and pieces, which need not be made again."""
    if not file or not file.exists():
        return {}
    kept = json.loads(file.read_text())
    return kept["rows"] if all(kept.get(k) == report[k] for k in ("model", "pieces", "prompt", "new")) else {}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--segue", default="./segue")
    p.add_argument("--model", type=pathlib.Path, required=True, help="a folder; its codec is also what makes the ceiling")
    p.add_argument("--pieces", type=int, default=100)
    p.add_argument("--run", action="append", help="parameters of one row")
    p.add_argument("--json", type=pathlib.Path, help="file for the figures; rows that it has of this very model are not made again")
    p.add_argument("--keep", type=pathlib.Path, help="folder for the audio of the last run; default: none is kept")
    o = p.parse_args()
    start = time.monotonic()
    torch.set_num_threads(1)  # the measures are short, and threads that wait for each other are slower than one
    with torch.no_grad(), tempfile.TemporaryDirectory() as scratch:
        folder = (o.keep or pathlib.Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        pieces = Pieces(o.pieces, codec(o.model))
        for i, prompt in enumerate(pieces.prompts):
            compose.write_wav(folder / f"prompt-{i}.wav", prompt)
        segue = Workers(o.segue)
        report = {"model": hashlib.sha256((o.model / "model.safetensors").read_bytes()).hexdigest(), "pieces": o.pieces, "prompt": PROMPT, "new": NEW}
        report["rows"], report["codec"] = begun(o.json, report), pieces.codec
        report["compared"] = {name: row(segue, pieces, made) for name, made in pieces.compared().items()}
        for name, params in runs(o.run).items():
            if name not in report["rows"]:
                report["rows"][name] = row(segue, pieces, continuations(segue, pieces, folder, {"model": str(o.model.resolve())} | params))
            print(f"{name}: {(time.monotonic() - start) / 60:.1f} minutes", file=sys.stderr, flush=True)
            if o.json:
                o.json.write_text(json.dumps(report, indent=1) + "\n")
        segue.close()
    print(table(report) + "\n\n" + verdicts(report))


if __name__ == "__main__":
    main()
