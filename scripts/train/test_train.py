"""Holds the composer to its word, and the parts of the training that can be wrong without anyone noticing.

    python -m unittest discover -s scripts/train
"""

import json
import pathlib
import tempfile
import unittest

import numpy as np
import torch

import codec
import compose
import decoder
import describe
import effects
import export
import language
import losses
import model
import piece
import restore
import synth
import theory
from muon import Muon
from plan import PLANS
from quantizer import Quantizer

SEEDS = range(40)


class Truth(unittest.TestCase):
    """What a piece says of itself is so."""

    def test_same_seed_same_piece(self):
        a, b = piece.compose(7), piece.compose(7)
        self.assertEqual(describe.facts(a), describe.facts(b))
        self.assertEqual(piece.score(a, 3.0, 5.0), piece.score(b, 3.0, 5.0))

    def test_notes_belong_to_the_key(self):
        for made in map(piece.compose, SEEDS):
            scale = {theory.degree(made.root, made.mode, d) % 12 for d in range(7)}
            notes, _ = piece.score(made, 0, 10)
            outside = [n for n in notes if n[2] % 12 not in scale and made.parts[n[4]].name != "bass"]
            self.assertEqual(outside, [], f"seed {made.seed}, {made.key}")

    def test_tempo_and_genre(self):
        for made in map(piece.compose, SEEDS):
            low, high = piece.GENRES[made.genre].bpm
            self.assertTrue(low <= made.bpm <= high and 70 <= made.bpm <= 175)
            self.assertGreaterEqual(len(made.parts), 2)

    def test_loops_repeat(self):
        """Eight bars later the same notes sound, but for parts that rest."""
        made = piece.compose(3)
        made.sections[:] = True
        span = 2 * piece.LOOP * piece.STEPS * made.step
        first, later = piece.score(made, 1.0, 4.0), piece.score(made, 1.0 + span, 4.0)
        self.assertEqual(len(first[0]), len(later[0]))
        np.testing.assert_allclose([n[:4] for n in first[0]], [n[:4] for n in later[0]], atol=1e-9)

    def test_a_window_is_part_of_the_piece(self):
        made = piece.compose(5)
        whole = {(round(n[0], 6), *n[2:]) for n in piece.score(made, 0.0, 12.0)[0]}
        part = {(round(n[0] + 4.0, 6), *n[2:]) for n in piece.score(made, 4.0, 8.0)[0]}
        self.assertTrue(part <= whole)

    def test_voices_move_little(self):
        for degrees in theory.PROGRESSIONS["minor"]:
            voiced = theory.progression(9, "minor", degrees, 3, 52)
            for a, b in zip(voiced, [*voiced[1:], voiced[0]]):
                self.assertLessEqual(sum(abs(x - y) for x, y in zip(a, b)), 12)

    def test_descriptions_tell_the_truth(self):
        random = np.random.default_rng(1)
        for made in map(piece.compose, SEEDS):
            text = describe.describe(describe.facts(made), random)
            for word in text.replace("BPM", "bpm").split():
                if word.isdigit():
                    self.assertEqual(int(word), round(made.bpm))


class Sound(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = synth.Synth()
        cls.audio, cls.pieces = compose.compose(cls.machine, range(6), 6.0)

    def test_level(self):
        self.assertFalse(torch.isnan(self.audio).any())
        self.assertLess(self.audio.abs().max().item(), 1.0)
        wanted = torch.tensor([p.mix["loudness"] for p in self.pieces])
        self.assertLess((effects.loudness(self.audio)[:, 0] - wanted).abs().max().item(), 0.7)

    def test_no_dip_before_the_first_kick(self):
        """Seed 168 has its first kick after nearly ten seconds, where the exponential of the wait overflowed."""
        audio, _ = compose.compose(self.machine, [168], 20.0)
        self.assertTrue(torch.isfinite(audio).all())

    def test_a_batch_changes_nothing(self):
        alone, _ = compose.compose(self.machine, [4], 6.0)
        self.assertLess((alone[0] - self.audio[4]).abs().max().item(), 1e-3)

    def test_pitch(self):
        """A note of 440 Hz has its strongest partials at multiples of 440 Hz, and nothing folded between them."""
        made = piece.compose(0)
        made.parts[0].tone.detune = made.parts[0].tone.vibrato = 0.0
        wave = self.machine.notes([made], [(0, 0, 69, 0.9, 0.0)], 32000)[0]
        power = torch.fft.rfft(wave[3200:19200] * torch.hann_window(16000)).abs()
        self.assertEqual(power.argmax().item() % 220, 0)

    def test_loudness_of_a_sine(self):
        """BS.1770: a sine of 997 Hz at full scale on one channel is -3.0 LUFS."""
        t = torch.arange(5 * synth.RATE) / synth.RATE
        self.assertAlmostEqual(effects.loudness(torch.sin(2 * np.pi * 997 * t)[None]).item(), -3.0, delta=0.3)


class Training(unittest.TestCase):
    def test_quantizer_decodes_what_it_chose(self):
        torch.manual_seed(0)
        quantizer, z = Quantizer(4, 32, 8), torch.randn(3, 8, 200)
        quantizer.begin(z)
        quantizer.eval()
        made, codes, _ = quantizer(z)
        torch.testing.assert_close(made, quantizer.decode(codes), rtol=1e-4, atol=1e-5)
        self.assertLess((made - z).square().mean().item(), 0.3)

    def test_dead_rows_come_back(self):
        torch.manual_seed(0)
        quantizer, z = Quantizer(1, 16, 4), torch.randn(2, 4, 100)
        quantizer.begin(z)
        quantizer.embed[0, 3] = quantizer.sums[0, 3] = 1e3
        for _ in range(400):
            quantizer(z)
        self.assertLess(quantizer.embed[0, 3].abs().max().item(), 10)

    def test_loss_hears_tones_and_attacks(self):
        """A semitone is nothing to mel bands of that width, nor does a short burst weigh much in their means."""
        t, spectra = torch.arange(synth.RATE) / synth.RATE, losses.Spectra()
        wave = torch.stack([torch.sin(2 * np.pi * f * t) for f in (220.0, 277.2, 329.6)]).sum(0)[None, None] / 6
        sharp = torch.stack([torch.sin(2 * np.pi * f * t) for f in (233.1, 293.7, 349.2)]).sum(0)[None, None] / 6
        self.assertGreater(spectra.in_tune(0.5 * wave, wave), 0.99)
        self.assertLess(spectra.in_tune(sharp, wave), 0.3)
        torch.manual_seed(0)
        burst = wave + 0.1 * torch.randn(synth.RATE) * (t % 0.25 < 0.01)
        self.assertGreater(spectra.attacks(burst, burst), 0.99)
        self.assertLess(spectra.attacks(wave, burst), 0.3)
        self.assertLess(spectra(wave, wave).item(), 1e-3)
        self.assertLess(spectra(burst, wave).item(), spectra(sharp, wave).item())

    def test_delay(self):
        codes = torch.arange(12).view(1, 4, 3)
        grid = language.delayed(codes, 99)[0].tolist()
        self.assertEqual(grid, [[99, 0, 1, 2, 99, 99, 99], [99, 99, 3, 4, 5, 99, 99], [99, 99, 99, 6, 7, 8, 99], [99, 99, 99, 99, 9, 10, 11]])

    def test_forward_is_the_reference_s(self):
        plan = PLANS["smoke"]
        net = model.build(plan).decoder.eval()
        grid = torch.randint(plan.entries, (3, model.CODEBOOKS, 40))
        states, mask = torch.randn(3, 6, plan.width), torch.tensor([[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
        with torch.no_grad():
            wanted = net(input_ids=grid.flatten(0, 1), encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False).logits
            got = decoder.logits(net, grid, states, mask > 0)
        torch.testing.assert_close(got.transpose(0, 1).flatten(0, 1), wanted, rtol=1e-4, atol=1e-4)

    def test_every_matrix_of_a_layer_has_muon(self):
        net = model.build(PLANS["smoke"])
        muon, adam = language.optimizers(torch.nn.ModuleList([net.text_encoder, net.enc_to_dec_proj, net.decoder]), torch.tensor(1e-3))
        count = [sum(len(g["params"]) for g in o.param_groups) for o in (muon, adam)]
        self.assertEqual(count, [2 * 10 + 1 * 6, 4 + 4 + 1 + 2 * 6 + 2 + 1 + 2 + 2 + 1])

    def test_muon_is_torch_s(self):
        """But for what bfloat16 rounds in sums of another order."""
        torch.manual_seed(0)
        mine = [torch.nn.Parameter(torch.randn(shape)) for shape in ((24, 16), (16, 24), (24, 16), (16, 16))]
        theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
        steppers = [Muon(mine, torch.tensor(0.01)), torch.optim.Muon(theirs, 0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")]
        for _ in range(3):
            for a, b in zip(mine, theirs):
                a.grad = torch.randn_like(a)
                b.grad = a.grad.clone()
            for stepper in steppers:
                stepper.step()
        for a, b in zip(mine, theirs):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


class Checkpoint(unittest.TestCase):
    def test_taken_apart_again(self):
        """What export put together comes apart into the same weights, but for float16."""
        plan = PLANS["smoke"]
        torch.manual_seed(0)
        trained, net = codec.Codec(plan), model.build(plan)
        trained.quantizer.begin(torch.randn(2, plan.latent, 200))
        parts = torch.nn.ModuleList([net.text_encoder, net.enc_to_dec_proj, net.decoder])
        with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
            source, folder, out = (pathlib.Path(scratch) / name for name in ("source", "folder", "out"))
            model.save(source / "codec.pt", codec=trained.state_dict())
            model.save(source / "language.pt", parts=parts.state_dict())
            (source / "tokenizer.json").write_text("{}")
            export.write(export.assemble(plan, source), plan, source, folder)
            settings = json.loads((folder / "generation_config.json").read_text())
            restore.restore(folder, out, 7)
            again, language_again = model.load(out / "codec.pt", "cpu"), model.load(out / "language.pt", "cpu")
        self.assertEqual(settings | export.SAMPLING, settings, "generation_config.json does not say how codes are drawn")
        self.assertIs(settings["do_sample"], True)
        self.assertEqual((again["seed"], language_again["step"]), (7, 0))
        for name, value in trained.state_dict().items():
            if name.startswith(("encoder", "decoder", "quantizer.embed")):
                torch.testing.assert_close(again["codec"][name], value, rtol=1e-3, atol=1e-4)
        for name, value in parts.state_dict().items():
            torch.testing.assert_close(language_again["parts"][name], value, rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    unittest.main()
