"""What is done to gradients between the backward pass and the update; sparse ones included."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError


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


@torch.no_grad()
def add_weight_decay(parameters: Iterable[nn.Parameter], decay: float) -> Tensor:
    """Add to the gradients that of `decay * sum(p^2)` over all parameters; return that penalty.

    The original's weight decay, which is part of its cost: to be called before clipping.
    """
    squares = []
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if parameter.grad.is_sparse:
            raise UserError(
                "decay_c decays every row of the word vectors, and optimizer=lazy_adam updates few "
                "of them: set decay_c=0, or take optimizer=adam."
            )
        parameter.grad.add_(parameter, alpha=2 * decay)
        squares.append(torch.linalg.vector_norm(parameter).square())
    return decay * torch.stack(squares).sum()
