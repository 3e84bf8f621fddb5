"""Random choices that stay the same on every machine and in every version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """A stream of random choices that is set by a tuple of non-negative integers alone.

    Only the raw output of PCG64 is used: NumPy promises never to change it (NEP 19), while it may
    change what the methods of `Generator` make of it.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A float in [low, high)."""
        return low + (high - low) * ((int(self._bits.random_raw()) >> 11) * 2.0**-53)

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.uniform(0, len(options)))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """All of `options` in random order."""
        rest = list(options)
        return [rest.pop(int(self.uniform(0, len(rest)))) for _ in options]
