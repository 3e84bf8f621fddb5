"""Float64 scores of chosen pairs, and how far those of float32 may be from exact ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vse_exp.similarity import Similarity

PAIRED_ON_CPU, PAIRED_ELSEWHERE = 1 << 15, 1 << 24
"""Elements of the rows whose pairs are scored at once in float64."""


@dataclass(frozen=True)
class Pairs:
    """Float64 scores of chosen pairs of a block of images and captions."""

    similarity: Similarity
    images: Tensor
    captions: Tensor

    def scores(self, i: Tensor, j: Tensor) -> Tensor:
        """Scores (n,) of the pairs of rows `i` of the images and `j` of the captions."""
        size = len(self.images), len(self.captions)
        if 64 * len(i) < size[0] * size[1]:
            return exact_pairs(self.similarity, self.images, self.captions, i, j)
        # many, as where embeddings have collapsed: one product is cheaper than its pairs
        out = self.images.new_empty(size, dtype=torch.float64)
        return self.similarity.block(self.images.double(), self.captions.double(), out)[i, j]


def exact_pairs(
    similarity: Similarity, images: Tensor, captions: Tensor, i: Tensor, j: Tensor
) -> Tensor:
    """Float64 scores (n,) of the pairs of rows `i` of `images` and `j` of `captions`."""
    # on a CPU few enough that torch does not split them among threads, which would wait more
    elements = PAIRED_ON_CPU if images.device.type == "cpu" else PAIRED_ELSEWHERE
    step = max(1, elements // images.shape[1])
    scores = [
        similarity.pairs(images[some].double(), captions[others].double())
        for some, others in zip(i.split(step), j.split(step), strict=True)
    ]
    return torch.cat(scores)


@dataclass(frozen=True)
class Rounding:
    """How far computed scores may be from exact ones, relative to the largest score possible.

    A sum of n products is off by n times the unit roundoff at most, in whatever order it is added
    up (Higham 2002, section 3.1); some more for the rounding of inputs, offsets and thresholds.
    """

    float32: float
    float64: float
    underflow: float

    @classmethod
    def of(cls, images: Tensor, captions: Tensor) -> Rounding:
        """That of products of these rows in float32."""
        exact = {images.dtype, captions.dtype} <= {torch.float32, torch.float16, torch.bfloat16}
        inputs = 0.0 if exact else 2.0**-24
        terms = images.shape[1] + 16
        return cls(1.01 * terms * 2.0**-24 + 2 * inputs, terms * 2.0**-52, terms * 2.0**-126)
