"""Pictures to rows of features, block by block."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset

from vse_exp.errors import UserError
from vse_exp.images.backbones import Backbone
from vse_exp.images.decoding import MAX_PIXELS, UnreadableImage, decode_image
from vse_exp.images.journal import Journal, Skipped
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.sources import Pictures


@dataclass(frozen=True)
class Settings:
    """How features are stored and made; see `conf/extract.yaml`."""

    dtype: str = "float16"
    unit_norm: bool = True
    average_views: bool = True
    batch_size: int = 64
    num_workers: int = 0
    max_pixels: int = MAX_PIXELS
    overwrite: bool = False
    restart: bool = False


def row_shape(backbone: Backbone, settings: Settings) -> tuple[int, ...]:
    """Of the features of one picture: views averaged, or side by side."""
    views = backbone.preprocessing.n_views
    if views == 1 or settings.average_views:
        return backbone.row_shape
    return (views * math.prod(backbone.row_shape[:-1]), backbone.dim)


class _Blocks(Dataset):
    """Consecutive pictures, decoded and cut: (block, indices, views uint8, skipped)."""

    def __init__(
        self, pictures: Pictures, preprocessing: Preprocessing, block: int, max_pixels: int
    ) -> None:
        self.pictures = pictures
        self.preprocessing = preprocessing
        self.block = block
        self.max_pixels = max_pixels

    def __getitem__(self, block: int) -> tuple[int, np.ndarray, Tensor | None, Skipped]:
        indices, views, skipped = [], [], []
        end = min((block + 1) * self.block, len(self.pictures.names))
        for index in range(block * self.block, end):
            try:
                image = decode_image(self.pictures.read(index), self.max_pixels)
                views.append(self.preprocessing.views_of(image))
                indices.append(index)
            except UnreadableImage as error:
                skipped.append((index, str(error)))
        stacked = torch.stack(views) if views else None
        return block, np.array(indices, dtype=np.int64), stacked, skipped


def fill(
    journal: Journal,
    pictures: Pictures,
    backbone: Backbone,
    settings: Settings,
    progress: Callable[[int, int], None],
    device: torch.device | str,
) -> None:
    """Make the rows of all blocks that the journal still lacks.

    `progress(done, total)` is called after each, done blocks of earlier runs included.
    """
    total = len(pictures.names)
    progress(journal.n_done, total)
    if not journal.open_blocks:
        return
    backbone.module.to(device)
    blocks = _Blocks(pictures, backbone.preprocessing, settings.batch_size, settings.max_pixels)
    loader = DataLoader(
        blocks,
        batch_size=None,
        sampler=journal.open_blocks,
        num_workers=settings.num_workers,
        pin_memory=torch.device(device).type == "cuda",
    )
    for block, indices, views, skipped in loader:
        start = block * settings.batch_size
        count = min(settings.batch_size, total - start)
        rows = np.zeros((count, *journal.rows.shape[1:]), journal.rows.dtype)
        if views is not None:
            features = backbone.features(views)
            if settings.average_views or features.shape[1] == 1:
                features = features.mean(1)
            else:
                features = features.flatten(1, -2)
            good = _usable(features)
            rows[indices[good] - start] = _stored(features[torch.from_numpy(good)], settings)
            skipped += [(int(index), "zero or not finite features") for index in indices[~good]]
        journal.add(block, rows, sorted(skipped))
        progress(journal.n_done, total)


def _usable(features: Tensor) -> np.ndarray:
    """Which pictures have finite vectors that are not all zero."""
    flat = features.flatten(1)
    return (flat.isfinite().all(1) & (flat != 0).any(1)).cpu().numpy()


def _stored(features: Tensor, settings: Settings) -> np.ndarray:
    features = features.cpu()
    if settings.unit_norm:
        features = normalize(features, dim=-1)
    with np.errstate(over="ignore"):  # told below
        rows = features.numpy().astype(settings.dtype)
    if not np.isfinite(rows).all():
        raise UserError("Feature values are too large for dtype=float16: give dtype=float32.")
    return rows
