"""Holds the measures to their word: the truth scores high, everything else low, each wrong in its own way.

    python -m unittest discover -s scripts/bench/continuation
"""

import json
import pathlib
import sys
import unittest

import torch

import measures
import tables

sys.path.append(str(pathlib.Path(__file__).parents[2] / "train"))
import card  # noqa: E402
import compose  # noqa: E402
import synth  # noqa: E402

BUNDLE = pathlib.Path(__file__).parents[3] / "weights" / "bundled"


class Measures(unittest.TestCase):
    @classmethod
    @torch.no_grad()
    def setUpClass(cls):
        audio, cls.pieces = compose.compose(synth.Synth(), [1, 5, 8, 11, 12, 13], 12.0)
        cls.prompts, cls.truths = audio.split(192000, dim=1)

    def mean(self, made):
        rows = [measures.measure(p, m, t, x.bpm) for p, m, t, x in zip(self.prompts, made, self.truths, self.pieces)]
        return {k: sum(r[k] for r in rows) / len(rows) for k in rows[0]}

    def test_truth(self):
        row = self.mean(self.truths)
        self.assertEqual((row["tempo"], row["phase"], row["level"], row["silent"], row["distance"]), (1, 1, 1, 0, 0))
        self.assertGreater(row["chroma"], 0.6)

    def test_another_piece(self):
        row, truth = self.mean(self.truths.roll(1, 0)), self.mean(self.truths)
        self.assertLess(row["tempo"], 0.5)
        self.assertLess(row["phase"], 0.5)
        self.assertLess(row["chroma"], truth["chroma"] - 0.3)
        self.assertLess(row["beat"], truth["beat"] - 0.2)
        self.assertGreater(row["distance"], 0.5)

    def test_a_codec_of_noise(self):
        """What a codec does to music, noise 8 dB below it, costs neither beat nor key."""
        noise = torch.randn(self.truths.shape, generator=torch.Generator().manual_seed(0))
        row = self.mean(self.truths + 0.4 * noise * self.truths.square().mean(1, keepdim=True).sqrt())
        self.assertEqual((row["phase"], row["silent"]), (1, 0))
        self.assertGreaterEqual(row["tempo"], 0.8)
        self.assertGreater(row["chroma"], 0.9 * self.mean(self.truths)["chroma"])

    def test_late(self):
        """A tenth of a second is late, a hundredth is not."""
        self.assertEqual(self.mean(self.truths.roll(3200, 1))["phase"], 0)
        self.assertEqual(self.mean(self.truths.roll(320, 1))["phase"], 1)

    def test_another_tempo(self):
        """Played 5 % faster, everything else is as it was."""
        faster = torch.nn.functional.interpolate(self.truths[:, None], scale_factor=1 / 1.05, mode="linear")[:, 0]
        self.assertEqual(self.mean(faster)["tempo"], 0)

    def test_another_key(self):
        """A tritone higher, at the same tempo: the prompt's chroma turned by six is far from itself."""
        higher = torch.nn.functional.interpolate(self.truths[:, None], scale_factor=0.5**0.5, mode="linear")[:, 0]
        self.assertLess(self.mean(higher)["chroma"], self.mean(self.truths)["chroma"] - 0.3)

    def test_quiet_and_silent(self):
        self.assertEqual(self.mean(0.5 * self.truths)["level"], 0)
        self.assertEqual(self.mean(0.001 * self.truths)["silent"], 1)

    def test_noise(self):
        row = self.mean(0.1 * torch.randn(self.truths.shape, generator=torch.Generator().manual_seed(0)))
        self.assertLess(row["tempo"], 0.6)
        self.assertGreater(row["distance"], 0.8)


def row(**changed):
    return {"tempo": 1.0, "beat": 0.6, "phase": 1.0, "chroma": 0.8, "level": 1.0, "silent": 0.0, "distance": 0.0} | changed


REPORT = {
    "pieces": 100, "prompt": 6.0, "new": 6.0, "codec": {"si_sdr": 5.0, "log_mel": 0.7, "buzz": 0.1, "true_buzz": 0.05},
    "compared": {"codec's copy of the truth": row(distance=0.2), "another piece": row(distance=1.2, tempo=0.1)},
    "rows": {"q8, guidance 1": row(distance=0.7, tempo=0.9), "q4, guidance 1": row(distance=0.71, tempo=0.89, chroma=0.63, silent=0.01)},
}


class Tables(unittest.TestCase):
    def test_aims(self):
        lines = tables.verdicts(REPORT).splitlines()[2:]
        self.assertTrue(all("| q8, guidance 1 | q4, guidance 1 |" in x for i, x in enumerate(lines) if i != 1), lines)
        self.assertIn("| all | none |", lines[1])

    def test_way(self):
        self.assertAlmostEqual(tables.way(REPORT, 1.2), 0)
        self.assertAlmostEqual(tables.way(REPORT, 0.2), 1)

    def test_card(self):
        stage = {"step": 4000, "spent": 600, "si_sdr": 4.0, "log_mel": 0.8, "windows": 9000, "losses": [3.0, 3.5, 4.0, 4.5]}
        facts = {"codec": stage | {"polished": stage | {"si_sdr": 5.5}}, "language": stage, "parameters": {"decoder": 17.4e6, "codec": 3.7e6}, "bytes": 24 << 20}
        facts |= dict.fromkeys(("text_layers", "text_width", "layers", "width", "heads", "filters", "entries", "window"), 3)
        text = card.card(facts, REPORT)
        self.assertIn("4,000 steps in 10 minutes, then its decoder 4,000 in 10 against discriminators", text)
        self.assertIn("SI-SDR 5.5 dB", text)
        self.assertIn("50 hours of music", text)

    @unittest.skipUnless(BUNDLE.joinpath("figures.json").exists(), "no figures beside the bundled model")
    def test_bundled_card_is_fresh(self):
        kept = json.loads((BUNDLE / "figures.json").read_text())
        self.assertEqual(card.card(kept["facts"], kept["continuation"]), (BUNDLE / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main()
