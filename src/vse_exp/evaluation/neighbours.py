"""The best items of each query, streamed over blocks of scores; and hubness, which follows."""

from __future__ import annotations

import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.blocks import Block, in_blocks, score_blocks
from vse_exp.evaluation.rows import Rows, rows_of_both
from vse_exp.evaluation.topk import TopK
from vse_exp.similarity import SimilarityLike, find_similarity


def best_captions(
    images: Rows,
    captions: Rows,
    k: int,
    similarity: SimilarityLike = "cosine",
    task: str | None = None,
) -> tuple[Tensor, Tensor]:
    """For each image the `k` best captions: float32 scores (n_images, k), int64 rows (n_images, k),
    where the embeddings are.

    Best first; which of equal scores stand first is not defined. `k` above their number is cut.
    """
    return _best(images, captions, k, similarity, task, of_images=True)


def best_images(
    images: Rows,
    captions: Rows,
    k: int,
    similarity: SimilarityLike = "cosine",
    task: str | None = None,
) -> tuple[Tensor, Tensor]:
    """For each caption the `k` best images: scores and rows (n_captions, k); see best_captions."""
    return _best(images, captions, k, similarity, task, of_images=False)


@torch.no_grad()
def _best(
    images: Rows,
    captions: Rows,
    k: int,
    similarity: SimilarityLike,
    task: str | None,
    of_images: bool,
) -> tuple[Tensor, Tensor]:
    images, captions = rows_of_both(images, captions)
    score = find_similarity(similarity)
    queries, items = (images, captions) if of_images else (captions, images)

    def find(block: Block) -> tuple[Tensor, Tensor]:
        best = TopK(len(queries), min(k, len(items)), images.device)
        for i, j, scores, _ in score_blocks(score, images, captions, block, task):
            if of_images:
                best.add(i, j.start, scores)
            else:
                best.add(j, i.start, scores.T)
        return best.scores, best.items

    return in_blocks(find, images.device)


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
