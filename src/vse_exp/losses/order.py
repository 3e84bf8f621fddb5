"""Differentiable scores of order embeddings (Vendrov et al. 2016, eq. 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK = 1 << 18
"""Elements of the (rows, m, d) violations held at a time: what stays in a core's cache."""


def order_scores(images: Tensor, captions: Tensor) -> Tensor:
    """Scores (n, m), `-||max(0, caption - image)||^2`, of images (n, d) and captions (m, d).

    The square is not rooted (VSE++ roots it, and its gradient at zero is NaN). Embeddings should
    be non-negative: the model takes absolute values where `model.absolute` says so.
    """
    return _OrderScores.apply(images, captions)


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
    rows = max(1, BLOCK // max(1, captions.numel()))
    for start in range(0, len(images), rows):
        block = slice(start, start + rows)
        yield block, (captions - images[block, None]).clamp_(min=0)
