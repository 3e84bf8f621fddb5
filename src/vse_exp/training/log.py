"""Figures of a training as it goes, for its loggers."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vse_exp.data.loading import PairBatch
from vse_exp.training.module import RetrievalModule


class TrainingLog(Callback):
    """Every `every` updates: loss, learning rate, gradient norm, captions a second, epoch."""

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._since = 0.0
        self._captions = 0
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step
        self._since, self._captions = time.perf_counter(), 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
    ) -> None:
        self._captions += len(batch.tokens) * trainer.world_size
        # with accumulated gradients several batches share a step
        if trainer.global_step % self.every or trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        assert isinstance(pl_module, RetrievalModule)
        now = time.perf_counter()
        # together, since a GPU waits for each look
        figures_on_device = [outputs["loss"], pl_module.grad_norm.to(outputs["loss"])]
        loss, grad_norm = torch.stack(figures_on_device).tolist()
        figures = {
            "train/loss": loss,
            "train/loss_per_item": loss / max(1, len(batch.tokens) * trainer.world_size),
            "train/lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train/grad_norm": grad_norm,
            "train/captions_per_second": self._captions / max(1e-9, now - self._since),
            "train/epoch": trainer.current_epoch,
        }
        self._since, self._captions = now, 0
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
