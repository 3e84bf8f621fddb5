"""Embeddings of all processes on each of them, so that one process and N see the same negatives."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor


def is_first_process() -> bool:
    """Whether this is the process that tells and writes, of several."""
    return getattr(rank_zero_only, "rank", 0) == 0


class _Gather(torch.autograd.Function):
    """All processes' rows, with a gradient.

    Each process computes the same loss of the whole batch, so the gradient of its own rows is
    already there and nothing need be sent backward. DDP then averages over the N processes what
    should be summed: hence the factor N.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        return gather_rows(rows, sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        own = grads[0].split(ctx.sizes)[ctx.rank]
        return own * len(ctx.sizes), None, None


def gather_sizes(rows: Tensor) -> list[int]:
    """How many rows each process holds."""
    size = torch.tensor([len(rows)], device=rows.device)
    sizes = [torch.zeros_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, size)
    return [int(size) for size in sizes]


def gather_rows(rows: Tensor, sizes: list[int]) -> Tensor:
    """Rows of all processes, one after the other; they may hold different numbers of rows."""
    largest = max(sizes)
    padded = rows.new_zeros((largest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def gather_batch(
    images: Tensor, captions: Tensor, image_ids: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The whole batch's embeddings (with gradient) and image ids; alone, what was given."""
    if _alone():
        return images, captions, image_ids
    sizes, rank = gather_sizes(image_ids), dist.get_rank()
    gathered_images = _Gather.apply(images, sizes, rank)
    gathered_captions = _Gather.apply(captions, sizes, rank)
    return gathered_images, gathered_captions, gather_rows(image_ids, sizes)


def gather_ids(ids: Tensor) -> Tensor:
    """Ids (B,) of the whole batch; alone, what was given."""
    return ids if _alone() else gather_rows(ids, gather_sizes(ids))


def _alone() -> bool:
    return not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
