"""Losses that are not finite end a training, without a GPU waiting at each update to be asked."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vse_exp.errors import UserError

EVERY = 50
"""Updates between looks at a GPU's losses, each of which waits for it; on the CPU all are seen."""


class _Seen(NamedTuple):
    epoch: int
    batch: int
    loss: Tensor
    captions: Tensor


class FiniteLosses:
    """Told each batch's loss; UserError, which names the batch, where one is NaN or infinite.

    `check` looks at those not seen yet: it is to be called before weights are saved or evaluated.
    """

    def __init__(self) -> None:
        self._waiting: list[_Seen] = []

    def add(self, epoch: int, batch: int, loss: Tensor, captions: Tensor) -> None:
        """The scalar `loss` of a batch of the captions with these indices."""
        self._waiting.append(_Seen(epoch, batch, loss.detach(), captions[:3]))
        if loss.device.type == "cpu" or len(self._waiting) >= EVERY:
            self.check()

    def check(self) -> None:
        """UserError where one of the losses since the last look was not finite."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        losses = torch.stack([seen.loss for seen in waiting]).tolist()
        for seen, loss in zip(waiting, losses, strict=True):
            if not abs(loss) < float("inf"):  # true of NaN too
                raise UserError(
                    f"The loss is {loss} at epoch {seen.epoch}, batch {seen.batch} (captions "
                    f"{seen.captions.tolist()} …): lower lrate, or check the features of those "
                    "images."
                )
