"""Numbers that look random, made of other numbers on any device alike."""

from __future__ import annotations

from torch import Tensor


def mixed(numbers: Tensor) -> Tensor:
    """Int64 to int64 of [0, 2^63), by the mixing of SplitMix64 (Steele et al. 2014)."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        numbers = (numbers ^ (numbers >> shift)) * factor
    return (numbers ^ (numbers >> 31)) & ((1 << 63) - 1)
