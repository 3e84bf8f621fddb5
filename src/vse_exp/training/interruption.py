"""Signals of a cluster or a person: save where the run stands, then leave."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vse_exp.errors import Interrupted

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")


class SaveOnSignal(Callback):
    """On SIGTERM, SIGUSR1, SIGUSR2 (a cluster's warnings) or Ctrl-C: write `path` after the update
    that is on, and raise Interrupted. A second Ctrl-C stops at once.

    Where a launcher had a handler of its own (submitit has: it puts the job back into the queue),
    that one is called after saving instead, and the training goes on if it returns. After the last
    update a signal changes nothing, since the run is about to end: `restore` gives the handlers
    back.

    It must be the last callback, so that it saves after a validation of the same update. The
    processes of a DDP run agree every `agree_every` updates.
    """

    def __init__(self, path: str | Path, agree_every: int = 10) -> None:
        self.path = path
        self.agree_every = agree_every
        self.received: signal.Signals | None = None
        self._training = False
        self._step = 0
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training = True
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning has meanwhile put its own before ours, which leaves with status 0
        self._listen()
        self._step = trainer.global_step

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._training = False

    def restore(self) -> None:
        """Give the signals back to those who had them before the training."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _listen(self) -> None:
        for name in SIGNALS:
            number = getattr(signal, name, None)  # Windows has fewer
            if number is not None:
                self._before.setdefault(number, signal.getsignal(number))
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and (self.received is not None or not self._training):
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step == self._step:
            return  # gradients are being accumulated, which no checkpoint holds
        self._step = trainer.global_step
        stop = self.received is not None
        if trainer.world_size > 1:
            if trainer.global_step % self.agree_every:
                return
            flag = torch.tensor(float(stop), device=pl_module.device)
            stop = bool(trainer.strategy.reduce(flag, reduce_op="sum"))
        if not stop:
            return
        trainer.save_checkpoint(self.path, weights_only=False)
        received, self.received = self.received, None
        before = self._before.get(received) if received is not None else None
        if received is not None and callable(before) and before != signal.default_int_handler:
            before(received, None)
            return
        raise Interrupted(
            f"Interrupted ({received.name if received else 'by another process'}) and saved at "
            f"update {trainer.global_step}: the same command goes on from there."
        )
