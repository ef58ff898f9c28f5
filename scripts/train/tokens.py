"""Trains the text tokenizer: SentencePiece's Unigram on descriptions of composed pieces, written as tokenizer.json.

    python tokens.py OUT --plan gpu

Case is folded: descriptions are short, and so is the vocabulary. Every small letter, digit and mark of ASCII is a piece.
"""

import argparse
import io
import json
import pathlib
import sys

import numpy as np
import sentencepiece
from tokenizers import Tokenizer

import describe
import piece
from plan import PLANS

sys.path.append(str(pathlib.Path(__file__).parent.parent / "golden"))
import tokenizer  # noqa: E402  spells spiece.model as tokenizer.json

CORPUS = 10000  # descriptions
ASCII = "".join(chr(c) for c in range(33, 127) if not chr(c).isupper())


def corpus():
    for seed in range(CORPUS):
        yield describe.describe(describe.facts(piece.compose(seed)), np.random.default_rng([seed, 3]))


def train(size):
    """Returns spiece.model as bytes: <pad> 0, </s> 1, <unk> 2, then pieces."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=out, model_type="unigram", vocab_size=size, required_chars=ASCII,
        normalization_rule_name="nmt_nfkc_cf", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
        hard_vocab_limit=False,
    )
    return out.getvalue()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--plan", choices=PLANS, required=True)
    o = p.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    spiece = train(PLANS[o.plan].pieces)
    text = tokenizer.to_json(spiece, "new")
    (o.out / "tokenizer.json").write_text(text, encoding="utf-8")
    slow, fast = sentencepiece.SentencePieceProcessor(model_proto=spiece), Tokenizer.from_str(text)
    example = "Dark techno, 132 bpm, in A minor, acid bass (no melody!)"
    assert slow.encode(example) + [1] == fast.encode(example).ids, "the two spellings of the tokenizer disagree"
    print(json.dumps({"pieces": fast.get_vocab_size(), "example": fast.encode(example).tokens}, ensure_ascii=False))


if __name__ == "__main__":
    main()
