"""Batch normalisation over the whole batch, where several processes each hold a share."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class WholeBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` of rows (n, size), of which each process has some: means and variances are
    those of all rows, and gradients those of one process with the whole batch (Ioffe and Szegedy
    2015). Works on any device, where torch's SyncBatchNorm asks for a GPU. The pair that stands in
    where a process has no caption counts as one row."""

    def forward(self, input: Tensor) -> Tensor:  # torch's name
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(input)
        rows = input.float() if input.dtype in (torch.half, torch.bfloat16) else input
        count = _Sum.apply(rows.new_full((1,), len(rows)))
        mean = _Sum.apply(rows.sum(0)) / count
        centred = rows - mean
        variance = _Sum.apply(centred.square().sum(0)) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            share = self.momentum or 0.0
            self.running_mean.lerp_(mean.to(self.running_mean), share)
            unbiased = variance * count / (count - 1)
            self.running_var.lerp_(unbiased.to(self.running_var), share)
            self.num_batches_tracked.add_(1)
        found = centred * (variance + self.eps).rsqrt() * self.weight + self.bias
        return found.to(input.dtype)


class _Sum(torch.autograd.Function):
    """Sum over processes, of which all have the gradients added up (torch's own is deprecated)."""

    @staticmethod
    def forward(ctx: object, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        whole = grads[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole
