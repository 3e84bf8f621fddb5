"""Pictures instead of features: decoded images by row, for models that take those."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.images.augmentation import Augmentation
from vse_exp.images.decoding import MAX_PIXELS, Picture, UnreadableImage, decode_image, open_picture
from vse_exp.images.features import ImageFeatures
from vse_exp.images.preprocessing import Preparation, Preprocessing
from vse_exp.images.rows import Images
from vse_exp.images.sources import JoinedPictures, Pictures

CACHE_BYTES = 1 << 30
"""A split whose pictures take no more is decoded once and kept in memory."""


@dataclass(frozen=True)
class PictureRows(Images):
    """Pictures by row, as `preprocessing` prepares them: uint8 (n, 3, crop, crop) where it is ours.

    It says how pictures are resized and cut; the backbone normalises them. Without
    `augmentation` rows are what evaluation sees, the middle. With it they vary by `seed` and the
    rows asked for together, and by nothing else: neither workers nor an interruption change them.
    """

    pictures: Pictures
    preprocessing: Preparation
    augmentation: Augmentation | None = None
    seed: int = 0
    max_pixels: int = MAX_PIXELS
    kept: Tensor | None = None
    """All pictures, uint8 (n, 3, S, S), where they are kept in memory."""

    block_rows = 64
    once_a_batch = True

    @classmethod
    def open(
        cls, pictures: Pictures, preprocessing: Preparation, cache_bytes: int = CACHE_BYTES
    ) -> PictureRows:
        """The pictures of a source, which are decoded now and kept if they are squares that fit
        `cache_bytes`.

        UserError for those that are unreadable then.
        """
        rows = cls(pictures, preprocessing)
        if not preprocessing.squares:
            return rows
        if rows.cut.n_views > 1:
            raise UserError(
                "view=ten_crop and mirror=true are for extraction: train with view=crop or "
                "view=squash."
            )
        return rows.load() if np.prod((len(rows), 3, rows.side, rows.side)) <= cache_bytes else rows

    @property
    def slow(self) -> bool:
        return self.kept is None

    def training(self, augmentation: Augmentation, seed: int) -> PictureRows:
        """The same pictures (and memory) as training sees them, cut as squares."""
        augmentation.check()
        return replace(self, augmentation=augmentation, seed=seed)

    def followed_by(self, others: Sequence[Images]) -> Images:
        if self.preprocessing.squares:
            return super().followed_by(others)
        sources = [one.pictures for one in (self, *others) if isinstance(one, PictureRows)]
        return replace(self, pictures=JoinedPictures(sources))

    def load(self) -> PictureRows:
        """The same with all pictures decoded and kept."""
        # by NumPy, since tensors made during inference cannot be filled by other threads
        kept = np.empty((len(self), 3, self.side, self.side), dtype=np.uint8)

        def fill(row: int) -> None:
            kept[row] = self._decode(row).numpy()

        with ThreadPoolExecutor() as threads:  # Pillow decodes without holding Python's lock
            list(threads.map(fill, range(len(self))))
        return replace(self, kept=torch.from_numpy(kept))

    @property
    def cut(self) -> Preprocessing:
        """The preprocessing, where it is of squares."""
        assert isinstance(self.preprocessing, Preprocessing)
        return self.preprocessing

    @property
    def side(self) -> int:
        """Side of the squares that are kept: before the crop, whose place may vary."""
        resize, crop = self.cut.resize, self.cut.crop
        if self.cut.view == "squash":
            return crop
        # by steps of 4, so that the middle of the middle is rounded as the middle itself
        return crop + (resize - crop) // 4 * 4

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.pictures.names), *self.preprocessing.shape)

    def rows(self, indices: np.ndarray | slice) -> Any:
        """The given pictures as `preprocessing` prepares them."""
        chosen = np.arange(len(self))[indices]
        if not self.preprocessing.squares:
            with ThreadPoolExecutor() as threads:  # Pillow decodes without holding Python's lock
                return self.preprocessing.prepare(list(threads.map(self._open, chosen)))
        if self.kept is not None:
            squares = self.kept[torch.from_numpy(chosen)]
        else:
            squares = torch.stack([self._decode(int(row)) for row in chosen])
        crop = self.cut.crop
        if self.augmentation is None:
            start = (self.side - crop) // 2
            return squares[..., start : start + crop, start : start + crop].contiguous()
        transform = self.augmentation.build(crop)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed_of(chosen))
            return torch.stack([transform(square) for square in squares])

    def _seed_of(self, chosen: np.ndarray) -> int:
        """By the rows asked for together, so that a picture looks different in other batches."""
        content = np.ascontiguousarray(chosen, dtype=np.int64).tobytes()
        key = self.seed.to_bytes(8, "little", signed=True)
        return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key).digest()) >> 1

    def _decode(self, row: int) -> Tensor:
        """One picture as a square of `side`."""
        return replace(self.cut, crop=self.side).views_of(self._open(row))[0]

    def _open(self, row: int) -> Image.Image:
        try:
            return decode_image(self.pictures.read(row), self.max_pixels)
        except UnreadableImage as error:
            raise UserError(
                f"Cannot read the picture {self.pictures.names[row]} ({error}): take it out with "
                "`python -m vse_exp.prepare exclude=FILE`."
            ) from error


class GivenPictures(Images):
    """Open pictures, paths or contents of files, read when they are asked for."""

    preprocessing: Preparation
    block_rows = 64

    def __init__(self, pictures: Sequence[Picture], preprocessing: Preparation) -> None:
        if isinstance(pictures, (str, bytes, Image.Image)):
            raise UserError("encode_images takes a list of pictures: put the picture in a list.")
        self.pictures = list(pictures)
        self.preprocessing = preprocessing

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.pictures), *self.preprocessing.shape)

    def rows(self, indices: np.ndarray | slice) -> Any:
        chosen = np.arange(len(self))[indices]
        return self.preprocessing.prepare([open_picture(self.pictures[row]) for row in chosen])


def given_images(images: Any, preprocessing: Preparation | None) -> Images:
    """What a caller hands in as Images: these, an array or tensor of rows, or, for a model with
    `preprocessing`, a list of pictures."""
    if isinstance(images, Images):
        return images
    if isinstance(images, Tensor):
        images = images.detach().cpu().float().numpy()
    if preprocessing is not None and not hasattr(images, "shape"):
        return GivenPictures(images, preprocessing)
    return ImageFeatures(np.asarray(images))
