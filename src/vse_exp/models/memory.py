"""What a frozen model gave for captions that it has read, found without asking a GPU anything."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vse_exp.mixing import mixed
from vse_exp.text.vocabulary import TokenizedCaptions, inside_mask


class CaptionMemory:
    """Vectors (n, dim) by the number of each caption, in the order of these numbers.

    A number has 63 bits, made of the ids: that two captions of a million have the same is less
    likely than one in ten million.
    """

    def __init__(self, dim: int) -> None:
        self.numbers = torch.empty(0, dtype=torch.int64)
        self.vectors = torch.empty(0, dim)

    def add(self, numbers: Tensor, vectors: Tensor) -> None:
        """Remember the vectors of captions, those known already among them."""
        numbers = torch.cat([self.numbers, numbers])
        vectors = torch.cat([self.vectors, vectors])
        numbers, order = numbers.sort(stable=True)
        new = torch.ones_like(numbers, dtype=torch.bool)
        new[1:] = numbers[1:] != numbers[:-1]
        self.numbers, self.vectors = numbers[new], vectors[order[new]]

    def find(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of captions, and bool (n,) which of them are known; others get any."""
        if len(self.numbers) == 0:
            vectors = self.vectors.new_zeros(len(numbers), self.vectors.shape[1])
            return vectors, torch.zeros_like(numbers, dtype=torch.bool)
        places = torch.searchsorted(self.numbers, numbers).clamp_max(len(self.numbers) - 1)
        return self.vectors[places], self.numbers[places] == numbers

    def to(self, device: torch.device) -> CaptionMemory:
        if self.numbers.device != device:
            self.numbers = self.numbers.to(device, non_blocking=True)
            self.vectors = self.vectors.to(device, non_blocking=True)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CaptionMemory:
        return self  # an average of the weights shares it: what is remembered never changes


def numbers_of(tokens: Tensor, lengths: Tensor | None) -> Tensor:
    """The numbers (B,) of captions (B, T)."""
    each = _mixed_places(tokens, torch.arange(tokens.shape[1], device=tokens.device))
    if lengths is not None:
        each = each.masked_fill(~inside_mask(tokens, lengths), 0)
    return mixed(each.sum(1))


def numbers_of_all(captions: TokenizedCaptions) -> Tensor:
    """The numbers (n,) of tokenised captions, on the host."""
    offsets, lengths = torch.from_numpy(captions.offsets), torch.from_numpy(captions.lengths)
    places = torch.arange(len(captions.tokens)) - offsets[:-1].repeat_interleave(lengths)
    each = _mixed_places(torch.from_numpy(captions.tokens), places)
    sums = torch.cat([each.new_zeros(1), each.cumsum(0)])  # they run over, and so back again
    return mixed(sums[offsets[1:]] - sums[offsets[:-1]])


def _mixed_places(tokens: Tensor, places: Tensor) -> Tensor:
    return mixed((tokens << 32) + places)
