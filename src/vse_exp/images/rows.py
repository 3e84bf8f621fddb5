"""What serves the images of a split by row, whether these are features or pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.images.augmentation import Augmentation


class Images(ABC):
    """Images by row, in the form that a model takes."""

    preprocessing: Any
    """How pictures were cut (Preprocessing); None where the rows are features."""
    block_rows: int
    """Rows of a block of bounded size."""
    first = 0
    """The number of the first row, in the images that these are a stretch of."""
    once_a_batch = False
    """Whether a training batch holds each image once: where they cost more than captions."""
    slow = False
    """Whether rows take so long to make that further processes should."""
    fetched = True
    """Whether a training batch's rows have to be fetched from the host."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(n_images, …)"""

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def rows(self, indices: np.ndarray | slice) -> Tensor:
        """The given images: features float32 (B, …), or pictures uint8 (B, 3, H, W)."""

    def blocks(self) -> Iterator[Tensor]:
        """All rows, in blocks of bounded size."""
        for start in range(0, len(self), self.block_rows):
            yield self.rows(slice(start, start + self.block_rows))

    def followed_by(self, others: Sequence[Images]) -> Images:
        """These images and those of others, one after the other."""
        return JoinedImages([self, *others])

    def training(self, augmentation: Augmentation, seed: int) -> Images:
        """The same images as training sees them, once its batches have `arrived`."""
        return self

    def arrived(self, rows: Tensor) -> Tensor:
        """What the model takes of a training batch's `rows` that have come to its device."""
        return rows

    def on_device(self, device: torch.device, share: float | None) -> Images | None:
        """The same images for training with all of them on the device; None where they take more
        than that share of what is free there, or where they are no features."""
        return None


class JoinedImages(Images):
    """The images of several splits, one after the other."""

    def __init__(self, parts: Sequence[Images]) -> None:
        self.parts = parts
        self.preprocessing = parts[0].preprocessing
        self.block_rows = parts[0].block_rows
        self._ends = np.cumsum([len(part) for part in parts])

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self._ends[-1]), *self.parts[0].shape[1:])

    def rows(self, indices: np.ndarray | slice) -> Tensor:
        chosen = np.arange(len(self))[indices]
        owner = np.searchsorted(self._ends, chosen, side="right")
        begins = self._ends - [len(part) for part in self.parts]
        found = [
            self.parts[number].rows(chosen[owner == number] - begins[number])
            for number in np.unique(owner)
        ]
        places = np.argsort(np.argsort(owner, kind="stable"), kind="stable")
        return torch.cat(found)[torch.from_numpy(places)]


class Stretch(Images):
    """Some images of others, side by side."""

    def __init__(self, images: Images, rows: slice) -> None:
        self.images, self._rows = images, range(len(images))[rows]
        self.preprocessing = images.preprocessing
        self.block_rows = images.block_rows
        self.first = images.first + self._rows.start

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self.images.shape[1:])

    def rows(self, indices: np.ndarray | slice) -> Tensor:
        if isinstance(indices, slice):
            chosen = self._rows[indices]
            return self.images.rows(slice(chosen.start, chosen.stop, chosen.step))
        return self.images.rows(np.asarray(self._rows)[indices])


def require_finite(rows: Tensor, what: str, first: int = 0) -> None:
    """UserError where a row holds NaN or Inf, with its number (`first`: that of the first row)."""
    finite = rows.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        row = first + int((~finite).nonzero()[0])
        raise UserError(f"{what} row {row} holds NaN or Inf: mend that row.")
