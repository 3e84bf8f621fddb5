"""The callback that says when hardest-negative training has collapsed, and can end it."""

from __future__ import annotations

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vse_exp.data.loading import PairBatch
from vse_exp.losses import CollapseDetector
from vse_exp.training.distributed import is_first_process
from vse_exp.training.module import RetrievalModule

log = logging.getLogger(__name__)

EVERY = 10
"""Batches between looks at a GPU's losses, each of which waits for it; on the CPU all are seen."""


class CollapseWatch(Callback):
    """Tells from `loss=hardest_hinge` staying at 2 x margin an item, for `patience` batches one
    after the other, that all embeddings have met in one point; with `stop` training then ends.

    `tolerance`: the share by which the loss may be off. Other losses are not watched.
    """

    def __init__(self, patience: int = 300, tolerance: float = 0.03, stop: bool = False) -> None:
        self.detector = CollapseDetector(0.0, patience, tolerance)
        self.stop = stop
        self.watching = False
        self.waiting: list[tuple[Tensor, int]] = []
        """Losses not looked at yet, with the captions of their batches."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, RetrievalModule)
        plateau = pl_module.loss.collapsed_value
        self.watching = plateau is not None
        if plateau is not None:
            self.detector.plateau = plateau
        else:
            log.warning("callbacks=collapse is for loss=hardest_hinge, and watches no other loss")

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
    ) -> None:
        if not self.watching:
            return
        # Lightning has divided it by the number of batches whose gradients add up
        loss = outputs["loss"] * trainer.accumulate_grad_batches
        self.waiting.append((loss, len(batch.tokens) * trainer.world_size))
        if loss.device.type != "cpu" and len(self.waiting) < EVERY:
            return
        self._look()
        if self.stop and self.detector.collapsed:
            trainer.should_stop = True

    def _look(self) -> None:
        losses = [loss.item() for loss, _ in self.waiting]
        for loss, (_, size) in zip(losses, self.waiting, strict=True):
            sentence = self.detector.update(loss, size)
            if sentence is not None and is_first_process():
                log.warning("%s", sentence)
        self.waiting = []

    def state_dict(self) -> dict[str, Any]:
        self._look()
        return {"updates": self.detector.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.detector.updates = state_dict["updates"]
