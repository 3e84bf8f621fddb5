"""Pairs of a batch mixed in the fixed spaces that they come from (FuseMix)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class FuseMix(NamedTuple):
    """`share` of each row of a batch's first half and the rest of that of its second half: images
    and captions alike, so that what is mixed is a pair again (Vouitsis et al. 2024, section 4.2;
    halves as in their program, where the paper draws two pairs). Of an odd batch one is left out.

    It stands between what a frozen model gives, or the counts of a bag of words, and what is
    learned.
    """

    share: float

    @classmethod
    def draw(cls, alpha: float) -> FuseMix:
        """With a share of Beta(alpha, alpha), by torch's generator."""
        return cls(float(torch.distributions.Beta(alpha, alpha).sample()))

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows (B, …) to (B // 2, …)."""
        first, second = halves(rows)
        return self.share * first + (1 - self.share) * second


def halves(rows: Tensor) -> tuple[Tensor, Tensor]:
    count = len(rows) // 2
    return rows[:count], rows[count : 2 * count]


def mixed_ids(image_ids: Tensor) -> Tensor:
    """Ids of mixed images (B // 2,): equal where both images are."""
    first, second = halves(image_ids)
    return first * (image_ids.max() + 1) + second
