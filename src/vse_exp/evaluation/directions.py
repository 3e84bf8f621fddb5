"""The two directions in one call each, as the original and VSE++ have them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import STANDARD
from vse_exp.evaluation.ranks import retrieval_ranks
from vse_exp.evaluation.rows import as_map, as_rows
from vse_exp.similarity import SimilarityLike

CAPTIONS_PER_IMAGE = 5
"""What repeated rows of the original's data sets mean, before other sizes are tried."""


def i2t(
    images: Any, captions: Any, caption_image: Any = None, similarity: SimilarityLike = "cosine"
) -> tuple[float, float, float, float, float]:
    """Image annotation: `(r1, r5, r10, medr, meanr)` of ranking captions for each image.

    `images` (n_images, d), `captions` (n_captions, d), arrays or tensors; `caption_image`
    (n_captions,). Without it captions stand in equal contiguous groups, and images are given once
    each or, as the original does, repeated a row a caption.
    """
    return _summary(_ranks(images, captions, caption_image, similarity)[0])


def t2i(
    images: Any, captions: Any, caption_image: Any = None, similarity: SimilarityLike = "cosine"
) -> tuple[float, float, float, float, float]:
    """Image search: `(r1, r5, r10, medr, meanr)` of ranking images for each caption; see i2t."""
    return _summary(_ranks(images, captions, caption_image, similarity)[1])


def _ranks(
    images: Any, captions: Any, caption_image: Any, similarity: SimilarityLike
) -> tuple[Tensor, Tensor]:
    images, captions = as_rows(images, "images"), as_rows(captions, "captions")
    if caption_image is None:
        images, mapping = contiguous_groups(images, len(captions))
    else:
        mapping = as_map(caption_image)
    return retrieval_ranks(images, captions, mapping, similarity)


def _summary(ranks: Tensor) -> tuple[float, float, float, float, float]:
    r1, r5, r10, medr, meanr = (metric(ranks) for metric in STANDARD)
    return r1, r5, r10, medr, meanr


def contiguous_groups(images: Tensor, n_captions: int) -> tuple[Tensor, Tensor]:
    """Images once each, and the map of captions that stand in equal contiguous groups.

    As many images as captions are taken for repeated rows where they are equal in groups of five,
    or else of another size that leaves several groups; otherwise each has one caption.
    """
    if n_captions % len(images):
        raise UserError(
            f"{n_captions} captions do not divide among {len(images)} images: give caption_image."
        )
    if len(images) == n_captions:
        run = int((images == images[0]).all(1).int().cumprod(0).sum())
        for size in (CAPTIONS_PER_IMAGE, run if run < n_captions else 1):
            if n_captions % size == 0 and _equal_in_groups(images, size):
                images = images[::size]
                break
    return images, torch.arange(n_captions) // (n_captions // len(images))


def _equal_in_groups(rows: Tensor, size: int) -> bool:
    groups = rows.unflatten(0, (-1, size))
    return bool((groups == groups[:, :1]).all())
