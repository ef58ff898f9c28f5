"""Writes the model card of the bundle: card.md with the facts of the training and the figures of the bench.

    python card.py FACTS.json CONTINUATION.json BUNDLE        # writes BUNDLE/README.md and, to make it again from, BUNDLE/figures.json
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "bench" / "continuation"))
import tables  # noqa: E402

WINDOW = 20.0  # seconds of music in a window that was composed for training


def card(facts, report):
    """The card's text."""
    codec, language, parts = facts["codec"], facts["language"], facts["parameters"]
    polished = codec.get("polished")
    polish = f", then its decoder {polished['step']:,} in {polished['spent'] / 60:.0f} against discriminators" if polished else ""
    reached = polished or codec
    return (HERE / "card.md").read_text(encoding="utf-8").format(
        **{k: facts[k] for k in ("text_layers", "text_width", "layers", "width", "heads", "filters", "entries", "window")},
        total=sum(parts.values()) / 1e6, parts=", ".join(f"{part} {n / 1e6:.1f}" for part, n in parts.items()), mib=facts["bytes"] / 2**20,
        codec_steps=codec["step"], codec_minutes=codec["spent"] / 60, polish=polish, si_sdr=reached["si_sdr"], log_mel=reached["log_mel"],
        language_steps=language["step"], language_minutes=language["spent"] / 60, windows=language["windows"], hours=language["windows"] * WINDOW / 3600,
        losses=", ".join(f"{x:.2f}" for x in language["losses"]), figures=tables.figures(report),
    )


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("facts", type=pathlib.Path)
    p.add_argument("continuation", type=pathlib.Path)
    p.add_argument("bundle", type=pathlib.Path)
    o = p.parse_args()
    facts, report = (json.loads(path.read_text()) for path in (o.facts, o.continuation))
    (o.bundle / "figures.json").write_text(json.dumps({"facts": facts, "continuation": report}, indent=1) + "\n")
    (o.bundle / "README.md").write_text(card(facts, report), encoding="utf-8")


if __name__ == "__main__":
    main()
