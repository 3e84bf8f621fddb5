"""Learning-rate schedules by update: `schedule(optimizer, total_steps)`."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vse_exp.errors import UserError


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Linear warm-up over the share `warmup` of the updates, then half a cosine down to zero."""
    _check_share("warmup", warmup)
    warm = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        # epochs may differ by a batch, so that there are a few updates more than was said
        share = min(1.0, (step - warm) / max(1, total_steps - warm))
        return 0.5 * (1 + math.cos(math.pi * share))

    return LambdaLR(optimizer, factor)


def step_down(
    optimizer: Optimizer, total_steps: int, at: float = 0.5, factor: float = 0.1
) -> LambdaLR:
    """Multiply the rate by `factor` after the share `at` of the updates (VSE++: half, 0.1)."""
    _check_share("at", at)
    return LambdaLR(optimizer, lambda step: factor if step >= at * total_steps else 1.0)


def _check_share(key: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise UserError(f"scheduler.{key} is {share}: a share of all updates, from 0 to 1.")
