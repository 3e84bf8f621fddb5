"""The order violation of embeddings (Vendrov et al. 2016, eq. 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vse_exp.similarity.base import Similarity

CACHE_ELEMENTS = 1 << 18
"""Elements of a temporary that stays in a core's cache."""
DEVICE_ELEMENTS = 1 << 26
"""The same where many cores work at once: as few kernels as its memory bears."""


class Order(Similarity):
    """Minus the order violation, `-||max(0, caption - image)||^2`.

    The square is not rooted (VSE++ roots it, and its gradient at zero is NaN). Embeddings should
    be non-negative: the model takes absolute values where `model.absolute` says so.
    """

    def __call__(self, images: Tensor, captions: Tensor) -> Tensor:
        return _OrderScores.apply(images, captions)

    def block(self, images: Tensor, captions: Tensor, out: Tensor) -> Tensor:
        if images.device.type != "cpu":
            return super().block(images, captions, out)
        step = max(1, CACHE_ELEMENTS // images.shape[1])
        violation = captions.new_empty(min(step, len(captions)), images.shape[1])
        for start in range(0, len(captions), step):
            part = captions[start : start + step]
            excess = violation[: len(part)]
            for row, image in enumerate(images):
                torch.sub(part, image, out=excess).clamp_(min=0).square_()
                torch.sum(excess, 1, out=out[row, start : start + step])
        return out.neg_()

    def pairs(self, images: Tensor, captions: Tensor) -> Tensor:
        return -(captions - images).clamp_(min=0).square_().sum(1)

    def bound(self, norms: Tensor, largest: Tensor) -> Tensor:
        return (norms + largest).square()


class _OrderScores(torch.autograd.Function):
    """Computed, also backward, in blocks of images, as the (n, m, d) violations fill no memory."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, captions: Tensor) -> Tensor:
        ctx.save_for_backward(images, captions)
        scores = images.new_empty(len(images), len(captions))
        for block, violation in _blocks(images, captions):
            torch.sum(violation.square_(), -1, out=scores[block])
        return scores.neg_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        images, captions = ctx.saved_tensors
        (grad,) = grads
        images_grad, captions_grad = torch.empty_like(images), torch.zeros_like(captions)
        for block, violation in _blocks(images, captions):
            violation *= grad[block, :, None]
            images_grad[block] = violation.sum(1)
            captions_grad -= violation.sum(0)
        return images_grad.mul_(2), captions_grad.mul_(2)


def _blocks(images: Tensor, captions: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Slices of images, each with its `max(0, caption - image)` (rows, m, d)."""
    elements = CACHE_ELEMENTS if images.device.type == "cpu" else DEVICE_ELEMENTS
    rows = max(1, elements // max(1, captions.numel()))
    for start in range(0, len(images), rows):
        block = slice(start, start + rows)
        yield block, (captions - images[block, None]).clamp_(min=0)
