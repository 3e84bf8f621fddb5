"""Adam as the original program has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.adam import adam


class OriginalAdam(Optimizer):
    """Adam as in the original's optim.py, whose bias correction uses 1 - beta for beta.

    `m = 0.1 g + 0.9 m`, `v = 0.001 g^2 + 0.999 v`, `p -= lr_t m / (sqrt(v) + eps)` with
    `lr_t = lr sqrt(1 - 0.001^t) / (1 - 0.1^t)`: from t = 2 on there is in effect no correction, and
    the first steps are several times larger than Adam's.
    """

    def __init__(self, params: Any, lr: float = 2e-4, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "step": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in params:
                if not self.state[parameter]:
                    self.state[parameter]["m"] = torch.zeros_like(parameter)
                    self.state[parameter]["v"] = torch.zeros_like(parameter)
            group["step"] += 1
            t = group["step"]
            # torch's fused kernel, told of so late a step that its own bias correction is 1
            adam(
                params,
                [parameter.grad for parameter in params],
                [self.state[parameter]["m"] for parameter in params],
                [self.state[parameter]["v"] for parameter in params],
                [],
                [torch.full((), 1e9, device=parameter.device) for parameter in params],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=group["lr"] * math.sqrt(1 - 0.001**t) / (1 - 0.1**t),
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )
        return loss
