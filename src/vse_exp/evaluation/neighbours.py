"""The best items of each query, streamed over blocks of scores; and hubness, which follows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.blocks import score_blocks
from vse_exp.evaluation.rows import as_rows
from vse_exp.evaluation.topk import TopK
from vse_exp.similarity import SimilarityLike, find_similarity

Rows = Tensor | np.ndarray


@torch.no_grad()
def best_captions(
    images: Rows,
    captions: Rows,
    k: int,
    similarity: SimilarityLike = "cosine",
    task: str | None = None,
) -> tuple[Tensor, Tensor]:
    """For each image the `k` best captions: float32 scores (n_images, k), int64 rows (n_images, k).

    Best first; which of equal scores stand first is not defined. `k` above their number is cut.
    """
    images, captions = as_rows(images, "images"), as_rows(captions, "captions")
    best = TopK(len(images), min(k, len(captions)), images.device)
    for i, j, scores, _ in score_blocks(find_similarity(similarity), images, captions, task=task):
        best.add(i, j.start, scores)
    return best.scores, best.items


@torch.no_grad()
def best_images(
    images: Rows,
    captions: Rows,
    k: int,
    similarity: SimilarityLike = "cosine",
    task: str | None = None,
) -> tuple[Tensor, Tensor]:
    """For each caption the `k` best images: scores and rows (n_captions, k); see best_captions."""
    images, captions = as_rows(images, "images"), as_rows(captions, "captions")
    best = TopK(len(captions), min(k, len(images)), images.device)
    for i, j, scores, _ in score_blocks(find_similarity(similarity), images, captions, task=task):
        best.add(j, i.start, scores.T)
    return best.scores, best.items


def k_occurrence(items: Tensor, n_items: int) -> Tensor:
    """How many queries have each of `n_items` items among their best, of `items` (n_queries, k)."""
    return torch.bincount(items.flatten(), minlength=n_items)


def hubness(
    images: Rows, captions: Rows, k: int = 10, similarity: SimilarityLike = "cosine"
) -> dict[str, float]:
    """Skewness of the k-occurrence, `aHubness` of captions and `sHubness` of images.

    0 where all items are found equally often; large where a few are found by very many queries
    (Radovanović et al. 2010, eq. 1). UserError for `k` below 1.
    """
    if k < 1:
        raise UserError(f"k is {k}: hubness counts at least one neighbour a query.")
    captions_found = best_captions(images, captions, k, similarity)[1]
    images_found = best_images(images, captions, k, similarity)[1]
    return {
        "aHubness": _skewness(k_occurrence(captions_found, len(captions))),
        "sHubness": _skewness(k_occurrence(images_found, len(images))),
    }


def _skewness(values: Tensor) -> float:
    centred = values.double() - values.double().mean()
    variance = float(centred.square().mean())
    return float(centred.pow(3).mean()) / variance**1.5 if variance > 0 else 0.0
