"""What a similarity is: how alike images and captions are, by their embeddings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vse_exp.parts import Part


class Logit(NamedTuple):
    """What training makes of a similarity: `scale * similarity + bias`."""

    scale: float
    bias: float = 0.0


class Similarity(Part):
    """Scores of images and captions, larger where they are more alike.

    Losses and lists of answers call it. Ranking asks for more: `block` writes into a buffer,
    `pairs` scores chosen pairs, and `bound` says how large a score can be, from which the error of
    a float32 block follows. A similarity of one's own needs `__call__`, and `bound` where scores
    can be larger than the product of the norms.
    """

    inner_product = False
    """Whether scores are inner products of rows, which indices for approximate search need."""

    def __call__(self, images: Tensor, captions: Tensor) -> Tensor:
        """Differentiable scores (n_images, n_captions) of rows (n_images, d), (n_captions, d)."""
        raise NotImplementedError

    def block(self, images: Tensor, captions: Tensor, out: Tensor) -> Tensor:
        """The same, written to `out`; no gradient."""
        return out.copy_(self(images, captions))

    def pairs(self, images: Tensor, captions: Tensor) -> Tensor:
        """Scores (n,) of row i of `images` with row i of `captions`, in their precision."""
        if len(images) == 0:
            return images.new_empty(0)
        rows = zip(images.split(1), captions.split(1), strict=True)
        return torch.cat([self(image, caption).flatten() for image, caption in rows])

    def bound(self, norms: Tensor, largest: Tensor) -> Tensor:
        """The largest score of rows of these norms with rows of norm `largest` at most."""
        return norms * largest
