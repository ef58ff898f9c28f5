"""Token ids of the reference tokenizers (tokenizers, sentencepiece) for texts that try their corners.

    python scripts/golden/tokenizer_vectors.py testdata/goldens/mono > engine/t5/testdata/vectors.json

The vocabulary of the folder is written too, so that the vectors stay true when the folder is made anew. Each entry names
what it changes in tokenizer.json; CHARSMAP stands for the file's own normalizer. The entry without a name is spiece.model,
whose texts must not spell added tokens: the library leaves those to its caller.
"""

import json
import random
import sys

import sentencepiece
import tokenizers

CHARSMAP = "CHARSMAP"
WORDS = {"type": "WhitespaceSplit"}
ADDED = [("<extra_id_1>", False, False), ("<extra_id_10>", False, False), ("<x>", True, True), ("<xy>", True, False)]


def metaspace(**fields):
    return {"type": "Metaspace", "replacement": "▁", **fields}


def after_words(**fields):
    return {"type": "Sequence", "pretokenizers": [WORDS, metaspace(**fields)]}


def variants(first_free_id):
    added = [
        {"id": i, "content": c, "single_word": False, "lstrip": l, "rstrip": r, "normalized": False, "special": True}
        for i, (c, l, r) in enumerate(ADDED, first_free_id)
    ]
    squeezed = {
        "type": "Sequence",
        "normalizers": [
            CHARSMAP,
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
        ],
    }
    yield "as is", {}
    yield "added tokens", {"added_tokens": added}
    yield "metaspace alone, spaces squeezed", {
        "normalizer": squeezed, "pre_tokenizer": metaspace(prepend_scheme="always", split=True), "added_tokens": added}
    yield "metaspace alone, older spelling", {"pre_tokenizer": metaspace(add_prefix_space=True)}
    yield "prepend first", {"pre_tokenizer": metaspace(prepend_scheme="first", split=True), "added_tokens": added}
    yield "prepend never", {"pre_tokenizer": metaspace(prepend_scheme="never", split=True)}
    yield "pieces across words", {"pre_tokenizer": metaspace(prepend_scheme="always", split=False)}
    yield "no normalizer", {"normalizer": None, "pre_tokenizer": after_words(prepend_scheme="first", split=True)}


CORNERS = [
    "", " ", "dark techno", "  two  spaces\t\n", "120 bpm, drums!", "e\u0301pic \u00e9pic", "ｄａｒｋ ﬁ ™ ½ …",
    "▁loop▁▁loop", "한 가 \u1100\u1161\u11a8", "👨\u200d👩\u200d👧 🇩🇪", "क्ष \u0939\u093f", "a\u0301\u0301 ½\u0301",
    "\ufeffpad\u200bpad\u3000pad", "\x01\x7fbass\u0085bass", "\ufdfa", "bass\r\nbass",
]
SPELT = ["<extra_id_1><extra_id_10>0", " a <x>  b<xy> c", "<x>", "beat </s> beat", "＜x＞", "<extra_id_", "<unk> pad"]


def random_text(rng, vocabulary):
    """A few pieces and characters of every kind."""
    kinds = [
        lambda: rng.choice(vocabulary).replace("▁", " "),
        lambda: " " * rng.randint(1, 2),
        lambda: chr(rng.randint(0x20, 0x7E)),
        lambda: chr(rng.randint(0xA0, 0x36F)),
        lambda: chr(rng.randint(0x2000, 0x33FF)),
        lambda: chr(rng.randint(0xF900, 0xFFFD)),
        lambda: chr(rng.randint(0x1F300, 0x1F6FF)),
    ]
    return "".join(rng.choice(kinds)() for _ in range(rng.randint(1, 10)))


def patched(file, patch):
    text = json.dumps({**file, **patch}).replace(json.dumps(CHARSMAP), json.dumps(file["normalizer"]))
    return tokenizers.Tokenizer.from_str(text)


def main(folder):
    with open(f"{folder}/tokenizer.json", encoding="utf-8") as f:
        file = json.load(f)
    vocabulary = [piece for piece, _ in file["model"]["vocab"]][3:]
    rng = random.Random(1)
    plain = CORNERS + [random_text(rng, vocabulary) for _ in range(40)]
    out = []
    for name, patch in variants(len(vocabulary) + 3):
        tokenizer = patched(file, patch)
        cases = [[text, tokenizer.encode(text).ids] for text in plain + SPELT]
        out.append({"name": name, "patch": patch, "cases": cases})
    model = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/spiece.model")
    out.append({"name": "", "cases": [[text, model.encode(text) + [model.eos_id()]] for text in plain]})
    vocabulary = json.dumps(file["model"]["vocab"], separators=(",", ":"))
    entries = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in out)
    print(f'{{"vocab":{vocabulary},\n"entries":[\n{entries}\n]}}')


main(sys.argv[1])
