"""Search a gallery with a sentence, without torch or vse_exp: NumPy, ONNX Runtime and JSON alone.

    python -m vse_exp.export checkpoint=best.ckpt output=mine onnx=true
    python -m vse_exp.index checkpoint=best.ckpt data=f8k output=gallery
    python search_without_torch.py mine/onnx gallery "a dog runs along the beach"

A copy of this file may go wherever the two folders go. Models whose words are stems need
`snowballstemmer`, and those of pre-trained text models `tokenizers`; both do without torch too.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class SentenceEncoder:
    """Sentences to unit rows (n, dim), by the folder `onnx` of an export."""

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        self.folder, self.tokens = folder, about["sentences"]["tokens"]
        self.similarity = about["similarity"]
        graph = str(folder / about["sentences"]["graph"])
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.inputs = {one.name for one in self.session.get_inputs()}
        words, pieces = self.tokens["words"], self.tokens["pieces"]
        self.words = word_ids(words) if words else lambda sentence: []
        self.pieces = piece_ids(pieces, folder) if pieces else lambda sentence: []

    def __call__(self, sentences: list[str]) -> np.ndarray:
        ids = [self.words(sentence) + self.pieces(sentence) for sentence in sentences]
        lengths = np.array([len(one) for one in ids])
        tokens = np.full((len(ids), lengths.max()), self.tokens["fill"], np.int64)
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = one
        given = {"tokens": tokens, "lengths": lengths}
        return self.session.run(None, {name: given[name] for name in self.inputs})[0]


def word_ids(about: dict):
    """How a sentence becomes ids of words."""
    known = {word: about["first_word"] + place for place, word in enumerate(about["words"])}
    how = about["tokenizer"]
    name, longest = how["name"], how.get("ngram", 1)
    if name == "Whitespace":
        cut = str.split
    elif name in ("Words", "Stems"):
        pattern, stem = re.compile(how["pattern"]), str
        if name == "Stems":
            import snowballstemmer

            stem = snowballstemmer.stemmer(how["language"]).stemWord

        def cut(sentence: str) -> list[str]:
            return [stem(word) for word in pattern.findall(sentence.lower())]
    else:
        raise SystemExit(f"This script does not know the tokeniser {name}.")

    def ids(sentence: str) -> list[int]:
        words = cut(sentence)
        runs = [
            " ".join(words[start:end])
            for start in range(len(words))
            for end in range(start + 1, min(start + longest, len(words)) + 1)
        ]
        found = [known.get(word, about["unknown"]) for word in [*about["prefix"], *runs]]
        return [*found, about["end"]]

    return ids


def piece_ids(about: dict, folder: Path):
    """How a sentence becomes ids of a pre-trained model's pieces."""
    from tokenizers import Tokenizer

    if about["clean"]:
        raise SystemExit("This script does not clean sentences as OpenCLIP does.")
    tokenizer = Tokenizer.from_file(str(folder / about["tokenizer_json"]))
    tokenizer.enable_truncation(about["max_length"])
    if not about["fill"]:
        tokenizer.no_padding()
    return lambda sentence: [one + about["offset"] for one in tokenizer.encode(sentence).ids]


def search(gallery: Path, query: np.ndarray, k: int = 10) -> list[tuple[float, str]]:
    """The `k` images nearest to a unit row, best first: scores and names."""
    rows = np.load(gallery / "images.npy", mmap_mode="r")
    names = (gallery / "images.txt").read_text(encoding="utf-8").splitlines()
    scores = rows @ query
    best = np.argsort(-scores, kind="stable")[:k]
    return [(float(scores[row]), names[row]) for row in best]


def main(folder: str, gallery: str, sentence: str) -> None:
    encoder = SentenceEncoder(Path(folder))
    if encoder.similarity != "Cosine":
        raise SystemExit(f"This script does not compare by {encoder.similarity}.")
    for score, name in search(Path(gallery), encoder([sentence])[0]):
        print(f"{score:.4f}  {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
