"""Optimisers, clipping and schedules that torch does not have as they are wanted here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


@torch.no_grad()
def clip_grad_norm(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """Scale all gradients so that their joint norm is at most `max_norm`; return the norm before.

    The original's rule (train.py): `g * max_norm / norm` where `norm > max_norm`, no epsilon.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not grads:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    if max_norm is not None:
        scale = (max_norm / norm).clamp(max=1.0)
        torch._foreach_mul_(grads, scale)
    return norm


class OriginalAdam(Optimizer):
    """Adam as in the original's optim.py, whose bias correction uses 1 - beta for beta.

    `m = 0.1 g + 0.9 m`, `v = 0.001 g^2 + 0.999 v`, step `lr sqrt(1 - 0.001^t) / (1 - 0.1^t)`: from
    t = 2 on there is in effect no correction, and the first steps are several times larger.
    """

    def __init__(self, params: Any, lr: float = 2e-4, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not params:
                continue
            for parameter in params:
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["m"] = torch.zeros_like(parameter)
                    state["v"] = torch.zeros_like(parameter)
                state["step"] += 1
            grads = [parameter.grad for parameter in params]
            means = [self.state[parameter]["m"] for parameter in params]
            squares = [self.state[parameter]["v"] for parameter in params]
            torch._foreach_lerp_(means, grads, 0.1)
            torch._foreach_mul_(squares, 0.999)
            torch._foreach_addcmul_(squares, grads, grads, 0.001)
            t = self.state[params[0]]["step"]
            lr = group["lr"] * math.sqrt(1 - 0.001**t) / (1 - 0.1**t)
            denominators = torch._foreach_sqrt(squares)
            torch._foreach_add_(denominators, group["eps"])
            torch._foreach_addcdiv_(params, means, denominators, -lr)
        return loss


def build_optimizer(
    module: nn.Module, factory: Callable[[list[dict[str, Any]]], Optimizer]
) -> Optimizer:
    """The optimiser over all trained parameters of `module`, those of the loss among them."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return factory([{"params": trained}])


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The same learning rate throughout."""
    return LambdaLR(optimizer, lambda step: 1.0)


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Linear warm-up over the share `warmup` of the updates, then half a cosine down to zero."""
    warm = max(1, round(warmup * total_steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total_steps - warm)))

    return LambdaLR(optimizer, factor)


def step_down(
    optimizer: Optimizer, total_steps: int, at: float = 0.5, factor: float = 0.1
) -> LambdaLR:
    """Multiply the rate by `factor` after the share `at` of the updates (VSE++: half, 0.1)."""
    return LambdaLR(optimizer, lambda step: factor if step >= at * total_steps else 1.0)
