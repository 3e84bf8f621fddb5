"""The images or captions of a gallery: names and rows, in one piece or, of several galleries that
are searched as one, in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vse_exp.device import fits
from vse_exp.evaluation.rows import as_rows
from vse_exp.retrieval.ann import AnnIndex


class Hit(NamedTuple):
    """One item that was found: its row in the gallery, its score, and its caption or file name."""

    item: int
    score: float
    name: str


@dataclass(frozen=True)
class Items:
    """A name and a row of `vectors` (n, dim) each. `device`: where they are searched; None: on the
    CPU."""

    names: list[str]
    vectors: Any
    index: AnnIndex | None = None
    device: torch.device | None = None

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def searched(self) -> Tensor:
        """The vectors, on the device if they fit there."""
        rows = as_rows(self.vectors, "gallery's rows")
        there = self.device is not None and fits(rows.nbytes, self.device)
        return rows.to(self.device) if there else rows

    @property
    def pieces(self) -> Sequence[Items]:
        """What is searched one after the other."""
        return (self,)


class JoinedItems(Items):
    """Items of several galleries, one after the other; each is searched with its own index."""

    def __init__(self, pieces: Sequence[Items]) -> None:
        names = [name for piece in pieces for name in piece.names]
        super().__init__(names, Rows([piece.vectors for piece in pieces]))
        object.__setattr__(self, "_pieces", pieces)

    @property
    def pieces(self) -> Sequence[Items]:
        return self._pieces  # type: ignore[attr-defined]


class Rows:
    """The rows of several arrays (n, dim), which stay where they are until slices are taken."""

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays
        self.dtype = np.result_type(*arrays)
        self._starts = np.cumsum([0, *map(len, arrays)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.arrays[0].shape[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        chosen = range(len(self))[rows]
        parts = [
            array[max(0, chosen.start - start) : max(0, chosen.stop - start)]
            for array, start in zip(self.arrays, self._starts[:-1], strict=True)
        ]
        return np.concatenate(parts)
