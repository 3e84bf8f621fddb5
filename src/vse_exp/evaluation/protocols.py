"""Which queries meet which gallery: the protocols of the field, named with every figure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import RECALLS, retrieval_metrics
from vse_exp.evaluation.ranks import retrieval_ranks

PROTOCOLS = ("full", "folds", "first_n")


@dataclass(frozen=True)
class Evaluation:
    """Metrics, what they were measured on, and the 0-based rank of each query (its own gallery).

    `caption_image` maps each ranked caption to its row of `annotation_ranks`.
    """

    metrics: dict[str, float]
    protocol: str
    annotation_ranks: Tensor
    search_ranks: Tensor
    caption_image: Tensor


def evaluate_embeddings(
    images: Tensor,
    captions: Tensor,
    caption_image: Tensor,
    protocol: str = "full",
    n_images: int = 1000,
    similarity: str = "cosine",
) -> Evaluation:
    """Rank and summarise under a protocol.

    `full`: all images against all captions. `first_n`: the first `n_images` images and their
    captions. `folds`: consecutive folds of `n_images` images, each a gallery of its own, the
    metrics averaged (COCO 1K is five folds of 1,000); rsum is the sum of the averaged recalls.
    Raises UserError for an unknown protocol and for sizes that do not fit.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"Unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}.")
    total = len(images)
    size = total if protocol == "full" else n_images
    if not 0 < size <= total or (protocol == "folds" and total % size):
        raise UserError(
            f"protocol={protocol} with n_images={size} does not fit the {total} images there are."
        )
    starts = range(0, total if protocol == "folds" else size, size)
    parts = [_fold(images, captions, caption_image, slice(s, s + size), similarity) for s in starts]
    per_fold = [retrieval_metrics(annotation, search) for annotation, search, _ in parts]
    metrics = {name: sum(fold[name] for fold in per_fold) / len(per_fold) for name in per_fold[0]}
    metrics["rsum"] = sum(metrics[f"{letter}R@{k}"] for letter in "as" for k in RECALLS)
    n_captions = sum(len(search) for _, search, _ in parts)
    sizes = f"{size:,} images x {n_captions // len(parts):,} captions"
    described = {
        "full": f"{sizes}, full gallery",
        "first_n": f"{sizes}, first {size:,} of {total:,} images",
        "folds": f"mean of {len(parts)} folds of {sizes}",
    }
    return Evaluation(
        metrics,
        described[protocol],
        torch.cat([annotation for annotation, _, _ in parts]),
        torch.cat([search for _, search, _ in parts]),
        torch.cat([mapping for _, _, mapping in parts]),
    )


def _fold(
    images: Tensor, captions: Tensor, caption_image: Tensor, part: slice, similarity: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Ranks within the images `part`, and the map of their captions to rows of all images."""
    chosen = ((caption_image >= part.start) & (caption_image < part.stop)).nonzero()[:, 0]
    mapping = caption_image[chosen]
    ranks = retrieval_ranks(images[part], captions[chosen], mapping - part.start, similarity)
    return *ranks, mapping
