"""A callback of Lightning's: how long each validation took to come."""

from __future__ import annotations

import time

from lightning.pytorch import Callback, LightningModule, Trainer


class Stopwatch(Callback):
    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.started = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if time.monotonic() - self.started > self.limit:
            trainer.should_stop = True
