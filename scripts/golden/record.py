"""What the reference implementation answers: every tensor of golden.safetensors, in the order of the pipeline."""

import math

import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.modeling_outputs import BaseModelOutput

TIE = 1e-3  # logits closer than this may be ordered differently by another sum order


def music(samples, rate, generator):
    """[samples] of something like music: three decaying partials that change ten times, and noise."""
    t = torch.arange(samples) / rate
    note = max(1, samples // 10)
    out = torch.zeros(samples)
    for at in range(0, samples, note):
        part = t[at : at + note] - t[at]
        for f in 110 * 2 ** (torch.randint(0, 36, (3,), generator=generator) / 12):
            out[at : at + note] += 0.2 * torch.sin(2 * math.pi * f * part) * torch.exp(-3 * part)
    return out + 0.02 * torch.randn(samples, generator=generator)


class Recorder:
    """Runs a model and collects named tensors in out and near ties in ties."""

    def __init__(self, model, seed, frames):
        self.model, self.config, self.frames = model, model.config, frames
        self.generator = torch.Generator().manual_seed(seed)
        self.hop = model.config.audio_encoder.hop_length
        self.rate = model.config.audio_encoder.sampling_rate
        self.channels = model.config.decoder.audio_channels
        self.special = model.config.decoder.pad_token_id
        self.out, self.ties = {}, []

    def text(self, ids):
        """T5 states of texts padded to the longest."""
        longest = max(map(len, ids))
        self.ids = torch.tensor([x + [0] * (longest - len(x)) for x in ids])
        self.mask = torch.tensor([[1] * len(x) + [0] * (longest - len(x)) for x in ids])
        self.hidden = self.model.text_encoder(input_ids=self.ids, attention_mask=self.mask).last_hidden_state
        self.out |= {"text.input_ids": self.ids, "text.attention_mask": self.mask, "text.hidden": self.hidden}

    def codec(self):
        """Audio → embeddings → codes → audio, for a short and a long wave that both end inside a frame."""
        codec = self.model.audio_encoder
        for name, frames in (("short", 15.5), ("long", 68.5)):
            wave = music(int(frames * self.hop), self.rate, self.generator).view(1, 1, -1)
            codes = codec.encode(wave).audio_codes
            decoded = codec.decode(codes, [None]).audio_values
            self.out |= {
                f"encodec.{name}.audio": wave, f"encodec.{name}.embeddings": codec.encoder(wave),
                f"encodec.{name}.codes": codes, f"encodec.{name}.decoded": decoded,
            }

    def logits(self, columns=23):
        """Teacher-forced logits of raw columns: random codes, special ones among them, no delay pattern."""
        rows = len(self.ids) * self.config.decoder.num_codebooks
        tokens = torch.randint(0, self.special + 1, (rows, columns), generator=self.generator)
        self.out |= {"lm.tokens": tokens, "lm.logits": self.forward(tokens, self.hidden, self.mask)}

    def forward(self, tokens, hidden, mask):
        return self.model(
            encoder_outputs=BaseModelOutput(hidden), attention_mask=mask, decoder_input_ids=tokens, use_cache=False
        ).logits

    def generate(self):
        """Greedy music for all texts from nothing, then from a prompt, without and with guidance."""
        for guidance in (1, 3):
            self.decode(f"generate.cfg{guidance}", guidance, new_tokens=self.frames + 9)
        samples = len(self.ids) * self.channels
        prompt = torch.stack([music(self.frames * self.hop, self.rate, self.generator) for _ in range(samples)])
        prompt = prompt.view(len(self.ids), self.channels, -1)
        self.out["continue.prompt_audio"] = prompt
        for c in range(self.channels):
            side = "" if self.channels == 1 else ("_left", "_right")[c]
            self.out["continue.prompt_codes" + side] = self.model.audio_encoder.encode(prompt[:, c : c + 1]).audio_codes
        for guidance in (1, 3):
            self.decode(f"continue.cfg{guidance}", guidance, new_tokens=self.frames + 14, prompt=prompt)

    def decode(self, name, guidance, new_tokens, prompt=None):
        """transformers' generate(); the codes are caught on their way to the codec, one call per channel."""
        codes, codec = [], self.model.audio_encoder
        plain = codec.decode
        codec.decode = lambda c, **kw: (codes.append(c), plain(c, **kw))[1]
        audio = {} if prompt is None else {"input_values": prompt, "padding_mask": torch.ones(len(prompt), prompt.shape[-1])}
        wave = self.model.generate(
            input_ids=self.ids, attention_mask=self.mask, do_sample=False, guidance_scale=float(guidance),
            max_length=None, max_new_tokens=new_tokens, **audio,
        )
        del codec.decode
        self.out |= {f"{name}.audio": wave[:1]} | {f"{name}.codes{c}": x for c, x in enumerate(codes)}
        whole = torch.stack([x[0] for x in codes], dim=2).flatten(1, 2)  # [B, Q, T], channels interleaved
        known = 0 if prompt is None else self.frames
        self.check(name, whole, known, guidance)

    def check(self, name, codes, known, guidance):
        """Holds cached decoding against one plain pass over its own result, and notes where two codes nearly tie."""
        grid = delayed(codes, self.special, self.channels)
        logits = self.guided(grid[:, :, :-1].flatten(0, 1), guidance).unflatten(0, codes.shape[:2])
        for q in range(codes.shape[1]):
            first = known + q // self.channels  # the column whose logits give frame `known`
            row = logits[:, q, first : first + codes.shape[2] - known]
            best = row.topk(2).values
            margin = best[..., 0] - best[..., 1]
            wrong = (row.argmax(-1) != codes[:, q, known:]) & (margin > TIE)
            assert not wrong.any(), f"{name}: cached and plain decoding differ in codebook {q}"
            for item, frame in (margin < TIE).nonzero().tolist():
                self.ties.append([name, item, q, known + frame, round(margin[item, frame].item(), 6)])

    def guided(self, tokens, guidance):
        logits = self.forward(tokens, self.hidden, self.mask)
        if guidance == 1:
            return logits
        without = self.forward(tokens, torch.zeros_like(self.hidden), torch.zeros_like(self.mask))
        return without + guidance * (logits - without)

    def sampling(self):
        """Probabilities after temperature, top-k and top-p."""
        logits = 3 * torch.randn(5, self.special, generator=self.generator)
        self.out["sampling.logits"] = logits
        for temperature, k, p in ((0.7, 10, 1), (1, 0, 0.8), (1.3, 30, 0.9)):
            name, steps = f"sampling.t{temperature}", [TemperatureLogitsWarper(float(temperature))]
            if k:
                name, steps = name + f"_k{k}", steps + [TopKLogitsWarper(k)]
            if p < 1:
                name, steps = name + f"_p{p}", steps + [TopPLogitsWarper(p)]
            self.out[name + ".probs"] = LogitsProcessorList(steps)(None, logits.clone()).softmax(-1)


def delayed(codes, special, channels):
    """[B, Q, T] → [B, Q, T+4]: a special column first, codebook q (of its channel) shifted right by q."""
    rows, books, frames = codes.shape
    grid = torch.full((rows, books, frames + books // channels), special)
    for q in range(books):
        shift = 1 + q // channels
        grid[:, q, shift : shift + frames] = codes[:, q]
    return grid
