"""How well captions tell images apart without any picture: a ceiling of what a language can give.

    python -m benchmarks.captions --data f8k --tokenizer vse_exp.text.tokenizers.Stems

Each caption of the test split looks for the other captions of its image: words weighted by their
rarity in the training captions, the mean cosine with an image's captions, ties against it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import numpy as np

from benchmarks.cca import weighted
from vse_exp.data.layouts import read_named_captions
from vse_exp.parts import build
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import FIRST_WORD, Vocabulary


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Print and return R@1, R@5, R@10 in percent, their sum, and words a caption."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.captions")
    parser.add_argument("--data", default="f8k", help="name of the data set")
    parser.add_argument("--root", default=None, help="its parent; default: VSE_DATA_DIR")
    parser.add_argument("--tokenizer", default="vse_exp.text.tokenizers.Stems", help="its class")
    options = parser.parse_args(argv)

    root = options.root or os.environ.get("VSE_DATA_DIR", "data")
    (train, _, _), (test, _, caption_image) = (
        read_named_captions(SplitFiles.find(root, options.data, name)) for name in ("train", "test")
    )
    words = Vocabulary.build(train, build({"_target_": options.tokenizer}, where="tokenizer"))
    ids = words.encode(train)
    owners = np.repeat(np.arange(len(train)), ids.lengths)
    once = np.unique(owners * len(words) + ids.tokens) % len(words)
    rarity = np.log(len(train) / np.bincount(once, minlength=len(words))[FIRST_WORD:])
    rows = weighted(test, words, rarity)
    hits = ranks(rows, caption_image)[:, None] < [1, 5, 10]
    recalls = [float(recall) for recall in 100 * hits.mean(0)]
    found = dict(zip(("R@1", "R@5", "R@10"), recalls, strict=True))
    found |= {"sum": sum(recalls), "words": float(words.encode(test).lengths.mean()) - 1}
    print(" ".join(f"{key} {value:.1f}" for key, value in found.items()))
    return found


def ranks(rows: np.ndarray, caption_image: np.ndarray) -> np.ndarray:
    """For each of the unit rows (n, d) how many images stand before its own or level with it, by
    the mean cosine with their captions, of its own image with the others."""
    scores = rows @ rows.T
    sums = np.zeros((len(rows), caption_image.max() + 1))
    np.add.at(sums.T, caption_image, scores)
    sizes = np.bincount(caption_image)
    each = np.arange(len(rows))
    right = (sums[each, caption_image] - scores[each, each]) / (sizes[caption_image] - 1)
    means = sums / sizes
    means[each, caption_image] = -np.inf
    return (means >= right[:, None] - 1e-6).sum(1)


if __name__ == "__main__":
    main()
