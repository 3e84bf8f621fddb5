"""Embeddings of all processes on each of them, so that one process and N see the same negatives."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from vse_exp.losses import ContrastiveLoss

REDUCE_SCATTER = "reduce_scatter_single"
if not hasattr(dist, REDUCE_SCATTER):  # its older name
    REDUCE_SCATTER = "reduce_scatter_tensor"


def is_first_process() -> bool:
    """Whether this is the process that tells and writes, of several."""
    return getattr(rank_zero_only, "rank", 0) == 0


def whole_loss(
    loss: ContrastiveLoss,
    images: Tensor,
    captions: Tensor,
    image_ids: Tensor,
    total: int | None = None,
) -> Tensor:
    """The loss of the whole batch, of which each process holds some pairs, (n, d); a scalar.

    Where it is a sum over pairs each process computes those of its own, against all others, and
    gets the gradients of its rows from all processes: scores (n, B) and not (B, B). Otherwise
    each computes the whole of it. `total`: pairs of the whole batch, dealt out one by one; None
    where the processes have to ask each other how many they hold, for which a GPU waits.
    """
    if _alone():
        return loss(images, captions, image_ids)
    rank, processes = dist.get_rank(), dist.get_world_size()
    sizes = _sizes(image_ids, total)
    dim = images.shape[1]
    # side by side, since one exchange is quicker than two
    both = _Gather.apply(torch.cat([images, captions], 1), sizes, rank, loss.by_rows)
    all_images, all_captions = both.split([dim, captions.shape[1]], 1)
    all_ids = gather_rows(image_ids, sizes)
    if not loss.by_rows:
        return loss(all_images, all_captions, all_ids)
    first = sum(sizes[:rank])
    part = loss(all_images, all_captions, all_ids, own=slice(first, first + sizes[rank]))
    whole = part.detach().clone()
    dist.all_reduce(whole)
    # of the whole the value, and N times its own part's gradient, as DDP takes the mean of N
    part = part * processes
    return part + (whole - part.detach())


class _Gather(torch.autograd.Function):
    """All processes' rows, with a gradient.

    Where each process computes the same loss of the whole batch, the gradient of its own rows is
    already there and nothing need be sent backward; DDP then averages over the N processes what
    should be summed: hence the factor N. Where each has a part of the loss, rows have gradients
    from all of them, which are added up.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int], rank: int, in_parts: bool) -> Tensor:
        ctx.sizes, ctx.rank, ctx.in_parts = sizes, rank, in_parts
        return gather_rows(rows, sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        parts = grads[0].split(ctx.sizes)
        if ctx.in_parts:
            return _sum_of_parts(parts, ctx.rank), None, None, None
        return parts[ctx.rank] * len(ctx.sizes), None, None, None


def _sum_of_parts(parts: tuple[Tensor, ...], rank: int) -> Tensor:
    """Part number `rank` of all processes, added up."""
    largest = max(map(len, parts))
    padded = parts[0].new_zeros(len(parts), largest, parts[0].shape[1])
    for place, part in zip(padded, parts, strict=True):
        place[: len(part)] = part
    own = torch.empty_like(padded[0])
    getattr(dist, REDUCE_SCATTER)(own, padded.flatten(0, 1))
    return own[: len(parts[rank])]


def shares(total: int, processes: int) -> list[int]:
    """How many of a batch's pairs each process holds, where each takes every N-th."""
    return [(total - rank + processes - 1) // processes for rank in range(processes)]


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


def gather_ids(ids: Tensor, total: int | None = None) -> Tensor:
    """Ids (B,) of the whole batch, of `total`, or they are counted; alone, what was given."""
    if _alone():
        return ids
    return gather_rows(ids, _sizes(ids, total))


def _sizes(rows: Tensor, total: int | None) -> list[int]:
    return gather_sizes(rows) if total is None else shares(total, dist.get_world_size())


def _alone() -> bool:
    return not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
