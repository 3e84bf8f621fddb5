"""Embeddings and maps as they are handed in: arrays or tensors, checked before they are ranked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError

Rows = Tensor | np.ndarray
"""Embeddings, one row an item."""


def as_rows(rows: Any, name: str) -> Tensor:
    """A (n, d) tensor without copying; memory-mapped arrays stay on disk until they are read.

    Raises UserError for another number of dimensions, no rows, or values that are no numbers.
    """
    if not isinstance(rows, Tensor):
        rows = np.asarray(rows)
        if rows.dtype.kind not in "fiu":
            raise UserError(f"The {name} hold {rows.dtype}: give numbers, one row an item.")
        if any(stride < 0 for stride in rows.strides):
            rows = rows.copy()
        with warnings.catch_warnings():  # read-only arrays are only read
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            rows = torch.from_numpy(rows)
    if rows.ndim != 2 or 0 in rows.shape:
        raise UserError(f"The {name} have shape {tuple(rows.shape)}, and must be (n, d) rows.")
    rows = rows.detach()
    return rows.cpu() if rows.device.type == "mps" else rows  # no float64 there


def rows_of_both(images: Any, captions: Any) -> tuple[Tensor, Tensor]:
    """Images and captions as `as_rows` has them, on one device: of two the one that is no CPU."""
    images, captions = as_rows(images, "images"), as_rows(captions, "captions")
    device = captions.device if images.device.type == "cpu" else images.device
    return images.to(device), captions.to(device)


def as_map(caption_image: Any) -> Tensor:
    """The map of captions to images as int64; UserError where it does not hold whole numbers."""
    mapping = torch.as_tensor(
        caption_image if isinstance(caption_image, Tensor) else np.array(caption_image)
    )
    if mapping.is_floating_point() or mapping.is_complex() or mapping.dtype == torch.bool:
        raise UserError(f"caption_image holds {mapping.dtype}: give the row of each image.")
    return mapping.long()


def check_map(
    images: Tensor, captions: Tensor, caption_image: Tensor, every_image: bool = True
) -> None:
    """Raise UserError unless rows are of one size and the map gives each image (not `every_image`:
    some images) a caption."""
    if images.shape[1] != captions.shape[1]:
        raise UserError(
            f"Images have {images.shape[1]} dimensions and captions {captions.shape[1]}: "
            "give embeddings of one model."
        )
    if caption_image.shape != (len(captions),):
        raise UserError(
            f"There are {len(captions)} captions, and caption_image has shape "
            f"{tuple(caption_image.shape)}: give one row of an image for each caption."
        )
    outside = (caption_image < 0) | (caption_image >= len(images))
    if bool(outside.any()):
        row = int(outside.nonzero()[0])
        raise UserError(
            f"Caption {row} belongs to image {int(caption_image[row])}, and there are "
            f"{len(images)} images: rows of caption_image count from 0."
        )
    without = torch.bincount(caption_image, minlength=len(images)) == 0
    if every_image and bool(without.any()):
        row = int(without.nonzero()[0])
        raise UserError(f"Image {row} has no caption: leave it out, or give it one.")


def row_norms(rows: Tensor, name: str) -> Tensor:
    """Euclidean norms, float64 (n,), never too small by more than float64's rounding.

    Raises UserError for NaN, Inf and for values whose scores would overflow, with the row.
    """
    norms = torch.cat([_norms(part) for part in rows.split(4096)])
    wrong = ~(norms < 1e18)  # NaN compares false; squares beyond this overflow float32
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        finite = bool(rows[row].isfinite().all())
        what = "is so large that its scores overflow" if finite else "holds NaN or Inf"
        raise UserError(f"{name} embedding {row} {what}: mend that row; no rank is defined.")
    return norms


def _norms(rows: Tensor) -> Tensor:
    norms = torch.linalg.vector_norm(rows.float(), dim=1).double() * 1.001
    if float(norms.min()) < 1e-12:  # squares may have underflowed
        norms = torch.linalg.vector_norm(rows.double(), dim=1) * 1.001
    return norms
