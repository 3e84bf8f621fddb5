"""Pictures instead of features: decoded images of a split by row, for training end to end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.images.decoding import (
    MAX_PIXELS,
    Picture,
    UnreadableImage,
    decode_image,
    open_picture,
)
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.sources import Pictures, open_pictures

CACHE_BYTES = 1 << 30
"""A split whose pictures take no more is decoded once and kept in memory."""


@dataclass(frozen=True)
class Augmentation:
    """How training pictures vary, by torchvision's v2 transforms."""

    scale: float = 0.7
    """Smallest share of the area that a random crop keeps; 1: always the middle."""
    stretch: float = 1.1
    """Largest change of its proportions."""
    flip: float = 0.0
    """Share of pictures that are mirrored; captions that say left and right are then wrong."""
    colour: float = 0.0
    """Largest relative change of brightness, contrast and saturation."""

    def build(self, side: int) -> Any:
        """The transform of uint8 pictures (…, 3, H, W) to (…, 3, side, side)."""
        # imported late: it takes a second that training on features need not wait
        from torchvision.transforms import v2

        steps: list[Any] = []
        if self.scale < 1:
            ratio = (1 / self.stretch, self.stretch)
            steps.append(v2.RandomResizedCrop(side, (self.scale, 1.0), ratio, antialias=True))
        else:
            steps.append(v2.CenterCrop(side))
        if self.flip:
            steps.append(v2.RandomHorizontalFlip(self.flip))
        if self.colour:
            steps.append(v2.ColorJitter(self.colour, self.colour, self.colour))
        return v2.Compose(steps)

    def check(self) -> None:
        """UserError for shares outside 0 to 1 and proportions below 1."""
        for name in ("scale", "flip", "colour"):
            if not 0 <= getattr(self, name) <= 1 or self.scale == 0:
                raise UserError(
                    f"augmentation.{name}={getattr(self, name)} must lie between 0 and 1."
                )
        if self.stretch < 1:
            raise UserError(f"augmentation.stretch={self.stretch} must be at least 1.")


@dataclass(frozen=True)
class PictureRows:
    """Pictures by row, uint8 (n, 3, crop, crop): it stands where `ImageFeatures` stands.

    `preprocessing` says how pictures are resized and cut; the backbone normalises them. Without
    `augmentation` rows are what evaluation sees, the middle. With it they vary by `seed` and the
    rows asked for together, and by nothing else: neither workers nor an interruption change them.
    """

    pictures: Pictures
    preprocessing: Preprocessing
    augmentation: Augmentation | None = None
    seed: int = 0
    max_pixels: int = MAX_PIXELS
    kept: Tensor | None = None
    """All pictures, uint8 (n, 3, S, S), where they are kept in memory."""

    @classmethod
    def open(
        cls,
        images: str | os.PathLike[str],
        names: Sequence[str],
        preprocessing: Preprocessing,
        cache_bytes: int = CACHE_BYTES,
    ) -> PictureRows:
        """The pictures `names` of a folder or archive (`scenes`: those that the program draws).

        They are kept in memory if they fit `cache_bytes`.

        UserError for pictures that are missing or, where they are kept, unreadable.
        """
        if preprocessing.n_views > 1:
            raise UserError("view=ten_crop is for extraction: train with view=crop or view=frame.")
        rows = cls(_open(images, names), preprocessing)
        return rows.load() if np.prod((len(rows), 3, rows.side, rows.side)) <= cache_bytes else rows

    def training(self, augmentation: Augmentation, seed: int) -> PictureRows:
        """The same pictures (and memory) as training sees them."""
        augmentation.check()
        return replace(self, augmentation=augmentation, seed=seed)

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
    def side(self) -> int:
        """Side of the squares that are kept: before the crop, whose place may vary."""
        resize, crop = self.preprocessing.resize, self.preprocessing.crop
        if self.preprocessing.view == "frame":
            return crop
        # by steps of 4, so that the middle of the middle is rounded as the middle itself
        return crop + (resize - crop) // 4 * 4

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), 3, self.preprocessing.crop, self.preprocessing.crop)

    def __len__(self) -> int:
        return len(self.pictures.names)

    def rows(self, indices: np.ndarray | slice) -> Tensor:
        """The given pictures, uint8 (B, 3, crop, crop)."""
        chosen = np.arange(len(self))[indices]
        if self.kept is not None:
            squares = self.kept[torch.from_numpy(chosen)]
        else:
            squares = torch.stack([self._decode(int(row)) for row in chosen])
        crop = self.preprocessing.crop
        if self.augmentation is None:
            start = (self.side - crop) // 2
            return squares[..., start : start + crop, start : start + crop].contiguous()
        transform = self.augmentation.build(crop)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed_of(chosen))
            return torch.stack([transform(square) for square in squares])

    def blocks(self, size: int = 64) -> Iterator[Tensor]:
        """All pictures in blocks."""
        for start in range(0, len(self), size):
            yield self.rows(slice(start, start + size))

    def _seed_of(self, chosen: np.ndarray) -> int:
        """By the rows asked for together, so that a picture looks different in other batches."""
        content = np.ascontiguousarray(chosen, dtype=np.int64).tobytes()
        key = self.seed.to_bytes(8, "little", signed=True)
        return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key).digest()) >> 1

    def _decode(self, row: int) -> Tensor:
        """One picture as a square of `side`."""
        square = replace(self.preprocessing, crop=self.side)
        try:
            image = decode_image(self.pictures.read(row), self.max_pixels)
        except UnreadableImage as error:
            raise UserError(
                f"Cannot read the picture {self.pictures.names[row]} ({error}): take it out with "
                "`python -m vse_exp.prepare exclude=FILE`."
            ) from error
        return square.views_of(image)[0]


class GivenPictures:
    """Open pictures, paths or contents of files, by row as `PictureRows` without memory."""

    def __init__(self, pictures: Sequence[Picture], preprocessing: Preprocessing) -> None:
        if isinstance(pictures, (str, bytes, Image.Image)):
            raise UserError("encode_images takes a list of pictures: put the picture in a list.")
        self.pictures = list(pictures)
        self.preprocessing = preprocessing
        self.shape = (len(self.pictures), 3, preprocessing.crop, preprocessing.crop)

    def rows(self, part: slice) -> Tensor:
        """The given pictures, uint8 (B, 3, crop, crop)."""
        return torch.cat(
            [self.preprocessing.views_of(open_picture(one)) for one in self.pictures[part]]
        )


def _open(images: str | os.PathLike[str], names: Sequence[str]) -> Pictures:
    if images == "scenes":
        from vse_exp.data.scenes.drawn import DrawnPictures

        return DrawnPictures(names)
    return open_pictures(images, names)
