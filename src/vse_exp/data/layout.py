"""A data set that lies otherwise than in files of captions and rows: a part, `data.layout`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from vse_exp.data.layouts import Split
from vse_exp.images.preprocessing import Preparation
from vse_exp.parts import Part


class Pools(ABC):
    """Training pairs that are never all in memory: read in pools, each of which is a Split.

    A pass over the data has `count` pools, numbered on over all passes; which images are in a pool
    follows from its number alone, so that a training can go on anywhere.
    """

    count: int
    n_images: int
    """Images of a pass."""

    @abstractmethod
    def read(self, number: int) -> Split:
        """The pool `number` (that of pass `number // count`), with the numbers of its images."""

    @abstractmethod
    def sample(self) -> Split:
        """What the vocabulary and means are made of: some images of the set, or, where a pass is
        one pool, that."""


class Layout(Part):
    """Where the splits of a data set lie and how they are read.

    A layout of one's own needs `__init__(self, *, keys…)` and `split`.
    """

    def split(
        self, name: str, preprocessing: Preparation | None, normalize: bool = False
    ) -> Split | None:
        """A split read whole: pictures cut by `preprocessing`, or features, of unit norm with
        `normalize`. None: it lies in files, as the other keys of `data` say."""
        raise NotImplementedError

    def pools(
        self, preprocessing: Preparation | None, normalize: bool = False, seed: int = 0
    ) -> Pools | None:
        """The training pairs in pools drawn by `seed`. None: they are those of `split("train")`."""
        return None

    def fingerprint(self, name: str) -> dict[str, Any] | None:
        """What tells a split from others of the same name, cheaply; None: as of files."""
        return None
