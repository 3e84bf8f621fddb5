"""Which queries meet which gallery: the protocols of the field, named with every figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Ranks, Relevance, join_answers
from vse_exp.evaluation.metrics import STANDARD, Metric, retrieval_metrics, with_rsum
from vse_exp.evaluation.ranks import rank_answers
from vse_exp.evaluation.rerank import Rerank
from vse_exp.evaluation.rows import as_map, check_map, rows_of_both
from vse_exp.similarity import SimilarityLike

PROTOCOLS = ("full", "folds", "first_n")


@dataclass(frozen=True)
class Evaluation:
    """Metrics, what they were measured on, and where each query's right answers stand (in its own
    gallery). `per_fold` holds the metrics of each gallery."""

    metrics: dict[str, float]
    protocol: str
    ranks: Ranks
    per_fold: tuple[dict[str, float], ...] = ()
    reported: tuple[Metric, ...] = STANDARD
    """The classes of the metrics."""

    @property
    def annotation_ranks(self) -> Tensor:
        """0-based rank of the best right caption of each image, int64 (n_images,)."""
        return torch.from_numpy(self.ranks.annotation.first)

    @property
    def search_ranks(self) -> Tensor:
        """0-based rank of the best right image of each caption, int64 (n_captions,)."""
        return torch.from_numpy(self.ranks.search.first)

    @property
    def caption_image(self) -> Tensor:
        """The row of `annotation_ranks` of each ranked caption, int64 (n_captions,)."""
        return torch.from_numpy(self.ranks.search.image)


def evaluate_embeddings(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    protocol: str = "full",
    n_images: int = 1000,
    similarity: SimilarityLike = "cosine",
    rerank: Rerank | None = None,
    verbose: bool = False,
    metrics: Sequence[Metric] = STANDARD,
    relevance: tuple[Relevance, Relevance] | None = None,
) -> Evaluation:
    """Rank and summarise under a protocol.

    `full`: all images against all captions. `first_n`: the first `n_images` images and their
    captions. `folds`: consecutive folds of `n_images` images, each a gallery of its own, the
    metrics averaged (COCO 1K is five folds of 1,000); rsum is the sum of the averaged recalls.
    `rerank` changes the scores as it says, within each gallery. `metrics`: what is reported.
    `relevance`: what is right beside the pairs, with `full` alone (see relevance.py).
    Raises UserError for an unknown protocol and for sizes that do not fit.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"Unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}.")
    images, captions = rows_of_both(images, captions)
    mapping = as_map(caption_image).cpu()
    check_map(images, captions, mapping)
    total = len(images)
    size = total if protocol == "full" else n_images
    if not 0 < size <= total or (protocol == "folds" and total % size):
        raise UserError(
            f"protocol={protocol} with n_images={size} does not fit the {total} images there are."
        )
    if relevance is not None and protocol != "full":
        raise UserError(f"Relevance is of the whole split: leave out protocol={protocol}, or it.")
    starts = range(0, total if protocol == "folds" else size, size)
    galleries = [_gallery(images, captions, mapping, start, size) for start in starts]
    rank = rank_answers if rerank is None else rerank.rank
    every = any(metric.every_answer for metric in metrics)
    options = {"every": every, "verbose": verbose, "relevance": relevance}
    both = [rank(*gallery, similarity, **options) for gallery in galleries]
    per_fold = tuple(retrieval_metrics(*pair, metrics) for pair in both)
    figures = {name: sum(fold[name] for fold in per_fold) / len(per_fold) for name in per_fold[0]}
    label = _describe(protocol, size, total, [len(search.image) for _, search in both], rerank)
    annotation, search = (
        join_answers(list(parts), list(starts)) for parts in zip(*both, strict=True)
    )
    ranks = Ranks(annotation, search, label)
    return Evaluation(with_rsum(figures), label, ranks, per_fold, tuple(metrics))


def _gallery(
    images: Tensor, captions: Tensor, mapping: Tensor, start: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`size` images from `start` on, their captions, and the map between these."""
    if size == len(images):
        return images, captions, mapping
    chosen = ((mapping >= start) & (mapping < start + size)).nonzero()[:, 0]
    first, last = int(chosen[0]), int(chosen[-1])
    # contiguous captions need no copy
    contiguous = last - first + 1 == len(chosen)
    rows = captions[first : last + 1] if contiguous else captions[chosen.to(captions.device)]
    return images[start : start + size], rows, mapping[chosen] - start


def _describe(
    protocol: str, size: int, total: int, n_captions: list[int], rerank: Rerank | None
) -> str:
    fewest, most = min(n_captions), max(n_captions)
    captions = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    sizes = f"{size:,} images x {captions} captions"
    text = {
        "full": f"{sizes}, full gallery",
        "first_n": f"{sizes}, first {size:,} of {total:,} images",
        "folds": f"mean of {len(n_captions)} folds of {sizes}",
    }[protocol]
    return text if rerank is None else f"{text}, {rerank.label()}"
