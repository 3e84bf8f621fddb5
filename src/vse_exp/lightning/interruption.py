"""Signals of a cluster or a person: save where the run stands, then leave."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vse_exp.errors import Interrupted

log = logging.getLogger(__name__)

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")


class SaveOnSignal(Callback):
    """On SIGTERM, SIGUSR1 (a cluster's warnings) or Ctrl-C: write `path` after the update that is
    on, and raise Interrupted. A second Ctrl-C stops at once.

    It must be the last callback, so that it saves after a validation of the same update. The
    processes of a DDP run agree every `agree_every` updates.
    """

    def __init__(self, path: str | Path, agree_every: int = 10) -> None:
        self.path = path
        self.agree_every = agree_every
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name in SIGNALS:
            number = getattr(signal, name, None)  # no SIGUSR1 on Windows
            if number is not None:
                self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        stop = self.received is not None
        if trainer.world_size > 1:
            if trainer.global_step % self.agree_every:
                return
            flag = torch.tensor(float(stop), device=pl_module.device)
            stop = bool(trainer.strategy.reduce(flag, reduce_op="sum"))
        if not stop:
            return
        trainer.save_checkpoint(self.path, weights_only=False)
        raise Interrupted(
            f"Interrupted ({self.received or 'by another process'}) and saved at update "
            f"{trainer.global_step}: the same command goes on from there."
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
