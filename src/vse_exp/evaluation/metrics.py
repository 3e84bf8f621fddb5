"""Recall, median and mean rank, and the two directions as the field reports them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.ranks import retrieval_ranks

RECALLS = (1, 5, 10)


def recall_at_k(ranks: Tensor, k: int) -> float:
    """Percent of queries whose 0-based rank is below `k`."""
    return 100.0 * float((ranks < k).double().mean())


def median_rank(ranks: Tensor) -> float:
    """1-based, `floor(median) + 1` as in the original's evaluation.py."""
    return float(np.floor(np.median(ranks.numpy()))) + 1


def mean_rank(ranks: Tensor) -> float:
    """1-based mean rank (VSE++)."""
    return float(ranks.double().mean()) + 1


def retrieval_metrics(annotation_ranks: Tensor, search_ranks: Tensor) -> dict[str, float]:
    """`aR@1` … `sR@10` in percent, `aMedr`, `aMeanr`, `sMedr`, `sMeanr`, and `rsum`, the six
    recalls added up."""
    metrics: dict[str, float] = {}
    for letter, ranks in (("a", annotation_ranks), ("s", search_ranks)):
        metrics |= {f"{letter}R@{k}": recall_at_k(ranks, k) for k in RECALLS}
        metrics[f"{letter}Medr"] = median_rank(ranks)
        metrics[f"{letter}Meanr"] = mean_rank(ranks)
    metrics["rsum"] = sum(metrics[f"{letter}R@{k}"] for letter in "as" for k in RECALLS)
    return metrics


def i2t(
    images: Any, captions: Any, caption_image: Any = None
) -> tuple[float, float, float, float, float]:
    """Image annotation: `(r1, r5, r10, medr, meanr)` of ranking captions for each image.

    `images` (n_images, d), `captions` (n_captions, d), arrays or tensors; `caption_image`
    (n_captions,). Without it captions stand in equal contiguous groups, and images may be given
    once each or, as the original does, a row a caption, five captions an image.
    """
    return _direction("a", images, captions, caption_image)


def t2i(
    images: Any, captions: Any, caption_image: Any = None
) -> tuple[float, float, float, float, float]:
    """Image search: `(r1, r5, r10, medr, meanr)` of ranking images for each caption; see i2t."""
    return _direction("s", images, captions, caption_image)


def _direction(
    letter: str, images: Any, captions: Any, caption_image: Any
) -> tuple[float, float, float, float, float]:
    image_rows = torch.as_tensor(np.asarray(images))
    caption_rows = torch.as_tensor(np.asarray(captions))
    if caption_image is None:
        image_rows, mapping = contiguous_groups(image_rows, len(caption_rows))
    else:
        mapping = torch.as_tensor(np.asarray(caption_image, dtype=np.int64))
    ranks = retrieval_ranks(image_rows, caption_rows, mapping)[0 if letter == "a" else 1]
    r1, r5, r10 = (recall_at_k(ranks, k) for k in RECALLS)
    return r1, r5, r10, median_rank(ranks), mean_rank(ranks)


def contiguous_groups(images: Tensor, n_captions: int) -> tuple[Tensor, Tensor]:
    """Images once each, and the map of captions that stand in equal contiguous groups."""
    if len(images) == 0 or n_captions % len(images):
        raise UserError(
            f"{n_captions} captions do not divide among {len(images)} images: give caption_image."
        )
    if len(images) == n_captions and n_captions % 5 == 0:
        groups = images.reshape(n_captions // 5, 5, -1)
        if bool((groups == groups[:, :1]).all()):
            images = images[::5]
    per_image = n_captions // len(images)
    return images, torch.arange(n_captions) // per_image
