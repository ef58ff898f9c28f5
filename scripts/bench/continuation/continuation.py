"""Plays on from held-out pieces with segue and prints how well the music goes on.

    python continuation.py --segue ./segue --model DIR [--pieces 100] [--run guidance=1,quantization=q8] … [--keep FOLDER]

Every --run is a row of the table, made with those parameters of the method `continue`. Rows to compare with: the true
continuation, the codec's own copy of it (the ceiling), the prompt looped, and another piece (what chance gives).
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import MusicgenForConditionalGeneration

sys.path.append(str(pathlib.Path(__file__).parents[2] / "train"))
import compose  # noqa: E402
import describe  # noqa: E402
import measures  # noqa: E402
import synth  # noqa: E402

PROMPT, NEW = 6.0, 6.0  # seconds
FIRST = compose.HELD_OUT + 10000  # seeds that neither training nor its held-out loss has seen
COLUMNS = {
    "tempo": "tempo kept", "phase": "phase ≤ 30 ms", "chroma": "chroma correlation", "level": "level ≤ 2 dB", "silent": "silent", "distance": "log-mel distance",
}


class Segue:
    """A worker that is asked one thing at a time."""

    def __init__(self, binary):
        self.process = subprocess.Popen([binary, "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, method, params):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']['message']}")
        return answer["result"]


class Pieces:
    """Held-out pieces: prompt, truth and codec's copy of it, [samples] each, with text and tempo."""

    def __init__(self, count, codec):
        machine, cut = synth.Synth(), int(PROMPT * synth.RATE)
        self.prompts, self.truths, self.copies, self.texts, self.bpm = [], [], [], [], []
        for seed in range(FIRST, FIRST + count):
            audio, (piece,) = compose.compose(machine, [seed], PROMPT + NEW)
            copy = codec(audio[:, None]).audio_values[0, 0] if codec else audio[0]
            self.prompts.append(audio[0, :cut])
            self.truths.append(audio[0, cut:])
            self.copies.append(copy[cut : audio.shape[1]])
            self.texts.append(describe.describe(describe.facts(piece), np.random.default_rng([seed, 2])))
            self.bpm.append(piece.bpm)

    def row(self, made):
        """Means of the measures of one continuation for each piece."""
        rows = [measures.measure(*four) for four in zip(self.prompts, made, self.truths, self.bpm)]
        return {key: statistics.mean(r[key] for r in rows) for key in rows[0]}

    def continuations(self, segue, folder, params):
        """What segue makes of every prompt."""
        out, times = [], []
        for i, text in enumerate(self.texts):
            path = folder / f"{i}.wav"
            asked = {"path": str(folder / f"prompt-{i}.wav"), "outputPath": str(path), "overwrite": True, "text": text, "seed": i}
            asked |= {"promptSeconds": PROMPT, "seconds": NEW, "level": "none", "crossfadeMs": 0, "bits": 16} | params
            times.append(segue.ask("continue", asked)["timing"]["totalMs"])
            out.append(compose.read_wav(path))
        return out, statistics.median(times)


def looped(prompt):
    """The prompt again, as a player would loop it that knows nothing of bars."""
    return prompt.repeat(2)[: int(NEW * synth.RATE)]


def table(rows):
    lines = ["| continuation | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[k]:.2f}" if k in ("chroma", "distance") else f"{100 * row[k]:.0f} %" for k in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parameters(text):
    """{"guidance": 1.0, "quantization": "q8"} from "guidance=1,quantization=q8"."""
    pairs = (pair.split("=", 1) for pair in text.split(",") if pair)
    return {k: float(v) if v.replace(".", "", 1).isdigit() else v for k, v in pairs}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--segue", default="./segue")
    p.add_argument("--model", required=True, help="a folder; its codec is also what makes the ceiling")
    p.add_argument("--pieces", type=int, default=100)
    p.add_argument("--run", action="append", help="parameters of one row; default: guidance=3 and guidance=1")
    p.add_argument("--keep", type=pathlib.Path, help="folder for the audio of the last run; default: none is kept")
    o = p.parse_args()
    codec = MusicgenForConditionalGeneration.from_pretrained(o.model, dtype=torch.float32).audio_encoder
    with torch.no_grad(), tempfile.TemporaryDirectory() as scratch:
        folder = o.keep or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        pieces = Pieces(o.pieces, codec)
        for i, prompt in enumerate(pieces.prompts):
            compose.write_wav(folder / f"prompt-{i}.wav", prompt)
        rows = {
            "the truth": pieces.row(pieces.truths), "codec's copy of the truth": pieces.row(pieces.copies),
            "prompt looped": pieces.row([looped(p) for p in pieces.prompts]), "another piece": pieces.row(pieces.truths[1:] + pieces.truths[:1]),
        }
        segue = Segue(o.segue)
        for run in o.run or ["guidance=3", "guidance=1"]:
            made, time = pieces.continuations(segue, folder, {"model": str(pathlib.Path(o.model).resolve())} | parameters(run))
            rows[f"segue, {run.replace(',', ', ')}"] = pieces.row(made)
            print(f"{run}: {NEW:.0f} s of music in {time / 1000:.2f} s (median)", file=sys.stderr, flush=True)
        print(table(rows))


if __name__ == "__main__":
    main()
