"""A small Unigram tokenizer in the two file formats that MusicGen checkpoints carry.

SentencePiece trains it on a made-up corpus; spiece.model is its file, tokenizer.json says the same in the spelling of
Hugging Face tokenizers (charsmap, WhitespaceSplit, Metaspace, Unigram, "</s>" at the end), as t5-base's does.
"""

import base64
import io
import json
import random

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

WORDS = """bass bpm loop drums and guitar piano synth pad techno house ambient lofi hip hop beat dusty dark warm strings choir
orchestral orchestra rock metal jazz funk soul amen break 90 120 174 with heavy loud soft slow fast ok epic brass flute
acid fizzy deep rain night vinyl crackle melody chords minor major""".split()


def train(seed, pieces):
    """Returns spiece.model as bytes: <pad> 0, </s> 1, <unk> 2, then pieces of a corpus drawn with the seed."""
    draw = random.Random(seed)
    corpus = (" ".join(draw.choices(WORDS, k=draw.randint(2, 9))) for _ in range(2000))
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus, model_writer=out, model_type="unigram", vocab_size=pieces,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, hard_vocab_limit=False, minloglevel=2,
    )
    return out.getvalue()


def to_json(spiece, metaspace):
    """Returns tokenizer.json. metaspace: "old" spells add_prefix_space, "new" prepend_scheme and split."""
    model = sentencepiece_model_pb2.ModelProto.FromString(spiece)
    special = [p.piece for p in model.pieces[:3]]
    space = {"type": "Metaspace", "replacement": "▁"}
    space |= {"add_prefix_space": True} if metaspace == "old" else {"prepend_scheme": "always", "split": True}
    a, b = ({"Sequence": {"id": i, "type_id": 0}} for i in "AB")
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": i, "content": piece, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, piece in enumerate(special)
        ],
        "normalizer": {
            "type": "Precompiled",
            "precompiled_charsmap": base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode(),
        },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": {
            "type": "TemplateProcessing", "single": [a, end], "pair": [a, end, b, end],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [[p.piece, p.score] for p in model.pieces]},
    }, ensure_ascii=False)
