"""How alike an image and a caption are: block by block in float32, pair by pair in any precision.

A similarity is called as `similarity(images, captions)` for the differentiable scores of a loss.
Ranking asks for more: `block` writes into a buffer, `pairs` scores chosen pairs, and `bound` says
how large a score can be, from which the error of a float32 block follows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vse_exp.errors import UserError

WORKING_SET = 1 << 18
"""Elements of a temporary that stays in a core's cache."""


class Cosine:
    """Inner products of rows, which are cosines where the rows have unit norm."""

    def __call__(self, images: Tensor, captions: Tensor) -> Tensor:
        """Scores (n_images, n_captions)."""
        return images @ captions.T

    def block(self, images: Tensor, captions: Tensor, out: Tensor) -> Tensor:
        """The same, written to `out`."""
        return torch.mm(images, captions.T, out=out)

    def pairs(self, images: Tensor, captions: Tensor) -> Tensor:
        """Scores (n,) of row i of `images` with row i of `captions`."""
        return (images * captions).sum(1)

    def bound(self, norms: Tensor, largest: Tensor) -> Tensor:
        """The largest score of rows of these norms with rows of norm `largest` at most."""
        return norms * largest


class Order:
    """Minus the order violation, `-||max(0, caption - image)||^2` (Vendrov et al. 2016, eq. 2)."""

    def __call__(self, images: Tensor, captions: Tensor) -> Tensor:
        """Scores (n_images, n_captions)."""
        step = max(1, WORKING_SET // max(1, captions.numel()))
        rows = [
            -(captions[None] - part[:, None]).clamp(min=0).square().sum(-1)
            for part in images.split(step)
        ]
        return torch.cat(rows) if rows else images.new_empty(0, len(captions))

    def block(self, images: Tensor, captions: Tensor, out: Tensor) -> Tensor:
        """The same, written to `out`; no gradient."""
        step = max(1, WORKING_SET // images.shape[1])
        violation = captions.new_empty(min(step, len(captions)), images.shape[1])
        for start in range(0, len(captions), step):
            part = captions[start : start + step]
            excess = violation[: len(part)]
            for row, image in enumerate(images):
                torch.sub(part, image, out=excess).clamp_(min=0).square_()
                torch.sum(excess, 1, out=out[row, start : start + step])
        return out.neg_()

    def pairs(self, images: Tensor, captions: Tensor) -> Tensor:
        """Scores (n,) of row i of `images` with row i of `captions`."""
        return -(captions - images).clamp_(min=0).square_().sum(1)

    def bound(self, norms: Tensor, largest: Tensor) -> Tensor:
        """The largest violation of rows of these norms with rows of norm `largest` at most."""
        return (norms + largest).square()


Similarity = Cosine | Order

SIMILARITIES: dict[str, Similarity] = {"cosine": Cosine(), "order": Order()}


def find_similarity(name: str) -> Similarity:
    """The similarity called `name`; UserError lists those that exist."""
    if name not in SIMILARITIES:
        raise UserError(f"Unknown similarity {name!r}: choose one of {', '.join(SIMILARITIES)}.")
    return SIMILARITIES[name]
