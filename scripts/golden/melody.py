"""Results of melody models. They are decoded by plain forward passes: generate() of transformers 5.17 drops their text
and melody before the first step, while forward is right."""

import torch
from transformers import MusicgenMelodyFeatureExtractor

from record import TIE, Recorder, delayed, music


class MelodyRecorder(Recorder):
    def features(self):
        """Chroma of a wave: [1, rows, 12], one-hot."""
        wave = music(int(2.1 * self.rate), self.rate, self.generator)
        self.extractor = MusicgenMelodyFeatureExtractor()
        found = self.extractor(wave.numpy(), sampling_rate=self.rate, return_tensors="pt")
        self.melody = found["input_features"].float()
        self.nothing = torch.zeros(1, 1, 12)
        self.nothing[..., 0] = 1  # the reference's "no melody": bin 0 in every row
        self.out |= {"melody.audio": wave, "melody.features": self.melody}

    def logits(self, columns=19):
        tokens = torch.randint(0, self.special + 1, (self.config.decoder.num_codebooks, columns), generator=self.generator)
        self.out |= {"lm.tokens": tokens, "lm.logits": self.rows(tokens, self.mask, self.melody)}

    def rows(self, tokens, mask, melody):
        """Logits of all rows: the chroma's, the text's, then the columns'. A zero mask zeroes the text rows."""
        return self.model(
            input_ids=self.ids, attention_mask=mask, input_features=melody, decoder_input_ids=tokens, use_cache=False
        ).logits

    def generate(self):
        for guidance in (1, 3):
            self.greedy(f"generate.cfg{guidance}", guidance, self.melody, self.frames + 6)
            self.greedy(f"textonly.cfg{guidance}", guidance, self.nothing, self.frames - 4)

    def greedy(self, name, guidance, melody, frames):
        """Column after column from the start; what lies outside the delay pattern is special, not chosen."""
        books = self.config.decoder.num_codebooks
        codes = torch.zeros((1, books, frames), dtype=torch.long)
        for column in range(1, frames + books // self.channels):
            grid = delayed(codes, self.special, self.channels)[0, :, :column]
            last = self.rows(grid, self.mask, melody)[:, -1]
            if guidance != 1:
                without = self.rows(grid, torch.zeros_like(self.mask), self.nothing)[:, -1]
                last = without + guidance * (last - without)
            for q in range(books):
                frame = column - 1 - q // self.channels
                if 0 <= frame < frames:
                    codes[0, q, frame] = last[q].argmax()
                    self.tie(name, last[q], q, frame)
        sides = [codes[None, :, c :: self.channels] for c in range(self.channels)]  # channels are interleaved
        wave = torch.cat([self.model.audio_encoder.decode(side, [None]).audio_values for side in sides], dim=1)
        names = [f"{name}.codes"] if self.channels == 1 else [f"{name}.codes{c}" for c in range(self.channels)]
        self.out |= dict(zip(names, sides)) | {f"{name}.audio": wave}

    def tie(self, name, logits, codebook, frame):
        best = logits.topk(2).values
        if best[0] - best[1] < TIE:
            self.ties.append([name, 0, codebook, frame, round((best[0] - best[1]).item(), 6)])
