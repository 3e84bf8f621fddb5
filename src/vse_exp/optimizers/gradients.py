"""What is done to gradients between the backward pass and the update; sparse ones included."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """Scale all gradients so that their joint norm is at most `max_norm`; return the norm before.

    The original's rule (train.py): `g * max_norm / norm` where `norm > max_norm`, no epsilon. A
    sparse gradient is coalesced, so that the norm is that of the dense one.
    """
    grads = [_dense_part(parameter) for parameter in parameters if parameter.grad is not None]
    if not grads:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    # on other devices, to look whether it is needed would cost more than a factor of 1
    if max_norm is not None and (norm.device.type != "cpu" or norm > max_norm):
        torch._foreach_mul_(grads, (max_norm / norm).clamp(max=1.0))
    return norm


def _dense_part(parameter: nn.Parameter) -> Tensor:
    """The gradient, of a sparse one its values, as memory that can be changed in place."""
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad.values()


class DenseGradients:
    """Word vectors' sparse gradients made dense for optimisers that want all rows.

    Done last before the update, so that the backward pass and clipping touch only the rows of
    words that occur, and in memory that is kept, of which only the rows of last time are cleared.
    """

    def __init__(self) -> None:
        self._kept: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def replace(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the dense gradient in the place of each sparse one."""
        for parameter in parameters:
            if parameter.grad is None or not parameter.grad.is_sparse:
                continue
            grad = parameter.grad.coalesce()
            (rows,) = grad.indices()
            if parameter in self._kept:
                dense, before = self._kept[parameter]
                dense.index_fill_(0, before, 0)
            else:
                dense = torch.zeros_like(parameter)
            parameter.grad = dense.index_copy_(0, rows, grad.values())
            self._kept[parameter] = dense, rows
