"""An exponential average of the weights over the updates, in place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class ExponentialAverage(AveragedModel):
    """Torch's AveragedModel with `get_ema_multi_avg_fn(decay)` and buffers, but for one thing: it
    does not ask the device at each update how many there were, for which a GPU would wait.

    Buffers that are no floating point numbers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.requires_grad_(False)
        self.decay = decay
        self._begun = False

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average to `model` by the share 1 - decay; the first time it becomes that."""
        ours, theirs = [], []
        for one, other in zip(_tensors(self.module), _tensors(model), strict=True):
            if self._begun and one.is_floating_point():
                ours.append(one)
                theirs.append(other)
            else:
                one.copy_(other)
        if ours:
            torch._foreach_lerp_(ours, theirs, 1 - self.decay)
        self._begun = True
        self.n_averaged += 1

    def _load_from_state_dict(self, *state: Any, **options: Any) -> None:
        super()._load_from_state_dict(*state, **options)
        self._begun = bool(self.n_averaged > 0)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return (tensor.detach() for tensor in chain(module.parameters(), module.buffers()))
