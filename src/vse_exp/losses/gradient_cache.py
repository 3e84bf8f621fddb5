"""Batches larger than memory with the gradient of the whole batch (GradCache, Gao et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Chunk = TypeVar("Chunk")


def encode_in_chunks(
    encode: Callable[[Chunk], tuple[Tensor, ...]], chunks: Iterable[Chunk]
) -> tuple[Tensor, ...]:
    """Embeddings of all chunks of a batch, as if encoded at once, for `loss(*embeddings)`.

    `encode(chunk)` gives tensors whose first axis runs over the chunk's items: images and captions,
    say. Each chunk is encoded a second time in the backward pass, with the same random numbers
    (dropout), so that the activations of one chunk only are held at a time; the loss sees the whole
    batch, and gradients are exactly the whole batch's. `encode` must compute the same both times:
    no running statistics as batch normalisation in training mode has them.
    """
    parts = [checkpoint(encode, chunk, use_reentrant=False) for chunk in chunks]
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))
