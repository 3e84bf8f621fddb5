"""Canonical correlations: what a data set gives without any training, in closed form.

    python -m benchmarks.cca --data f8k

Captions are bags of stems, weighted by rarity; images the signed roots of their features. The
regularised canonical directions of both (Hotelling 1936; Gong et al. 2014, weighted by powers of
their correlations) are chosen on the training pairs, and dev and test ranked by the cosine.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from vse_exp.data.layouts import Split, load_split
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.split_files import SplitFiles
from vse_exp.text.tokenizers import Stems
from vse_exp.text.vocabulary import FIRST_WORD, Vocabulary


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Print and return rows: split and the metrics of its full gallery."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cca")
    parser.add_argument("--data", default="f8k", help="name of the data set")
    parser.add_argument("--root", default=None, help="its parent; default: VSE_DATA_DIR")
    parser.add_argument("--min-count", type=int, default=5, help="of a stem")
    parser.add_argument("--image-ridge", type=float, default=1.0, help="shares of mean variance")
    parser.add_argument("--text-ridge", type=float, default=1.0)
    parser.add_argument("--dim", type=int, default=256, help="directions kept")
    parser.add_argument("--power", type=float, default=1.0, help="of correlations as weights")
    options = parser.parse_args(argv)

    root = options.root or os.environ.get("VSE_DATA_DIR", "data")
    splits = {
        name: load_split(SplitFiles.find(root, options.data, name), name)
        for name in ("train", "dev", "test")
    }
    train = splits["train"]
    words = Vocabulary.build(train.captions, Stems(), min_count=options.min_count)
    rarity = -np.log(np.maximum(_bags(train.captions, words).mean(0), 1e-9))
    images, captions = _images(train), weighted(train.captions, words, rarity)
    found = canonical(
        images[train.caption_image], captions, options.image_ridge, options.text_ridge
    )
    weights = found.correlations[: options.dim] ** options.power
    rows = []
    for name in ("dev", "test"):
        split = splits[name]
        sides = (
            (_images(split) - found.means[0]) @ found.images[:, : options.dim],
            (weighted(split.captions, words, rarity) - found.means[1])
            @ found.captions[:, : options.dim],
        )
        ours, theirs = (torch.from_numpy(_unit(side * weights)) for side in sides)
        result = evaluate_embeddings(ours, theirs, split.caption_image)
        rows.append({"split": name, **result.metrics})
        print(name, " ".join(f"{key} {value:.1f}" for key, value in result.metrics.items()))
    return rows


class Canonical(NamedTuple):
    """Directions as columns, (d, k) and (e, k), with the k correlations, the highest first."""

    means: tuple[np.ndarray, np.ndarray]
    images: np.ndarray
    captions: np.ndarray
    correlations: np.ndarray


def canonical(
    images: np.ndarray, captions: np.ndarray, image_ridge: float, text_ridge: float
) -> Canonical:
    """Canonical correlations of paired rows (n, d) and (n, e); ridges in shares of the mean
    variance of a side's values."""
    first, second = _whitened(images, image_ridge), _whitened(captions, text_ridge)
    cross = (images - first[0]).T @ (captions - second[0]) / len(images)
    left, correlations, right = np.linalg.svd(first[1].T @ cross @ second[1], full_matrices=False)
    means = first[0], second[0]
    return Canonical(means, first[1] @ left, second[1] @ right.T, correlations)


def _whitened(rows: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and the map of centred rows to values of unit variance without correlation."""
    mean = rows.mean(0)
    centred = rows - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(rows))
    return mean, directions / np.sqrt(np.maximum(variances, 0) + ridge * variances.mean())


def _images(split: Split) -> np.ndarray:
    rows = split.image_features.rows(slice(None)).float().numpy()
    rows = rows if rows.ndim == 2 else rows.mean(1)
    return np.sign(rows) * np.sqrt(np.abs(rows))


def _bags(captions: Sequence[str], words: Vocabulary) -> np.ndarray:
    """Which words are in which captions, float32 (n, words)."""
    ids = words.encode(captions)
    bags = np.zeros((len(captions), len(words)), np.float32)
    bags[np.repeat(np.arange(len(captions)), ids.lengths), ids.tokens] = 1
    return bags[:, FIRST_WORD:]


def weighted(captions: Sequence[str], words: Vocabulary, rarity: np.ndarray) -> np.ndarray:
    """Captions as unit rows (n, words) of the weights of their words."""
    return _unit(_bags(captions, words) * rarity.astype(np.float32))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


if __name__ == "__main__":
    main()
