"""The validation callback: recalls and ranks on dev, the best model kept, the run resumable."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vse_exp.evaluation.rank_files import write_ranks
from vse_exp.models.checkpoint import save_model
from vse_exp.training.module import RetrievalModule

log = logging.getLogger(__name__)


class RetrievalValidation(Callback):
    """Validates every `every` updates, or with None at the end of each epoch, and once more at the
    end of training with `at_end`, or where it had not been done at all.

    Each time Lightning's own validation loop embeds and ranks all of dev, so that hooks, metrics
    and callbacks are as its users know them; the metrics go to every logger as `val/aR@1` …
    `val/rsum`. A strictly better rsum writes `best.ckpt` (the model alone) and, beside `folder`,
    `dev_ranks.npz`; `last.ckpt` (all that a resumed run needs) is always written. `patience` stops
    the training after that many validations without a better rsum, a ReduceLROnPlateau is told each
    rsum, and so is `report(number, rsum)` of the validations from 1 on.

    The loop is started from here and not by Lightning's own count of batches, so that it, and the
    checkpoint behind it, stand between two updates, which is where a run can go on exactly.
    """

    def __init__(
        self,
        folder: str | Path,
        every: int | None = 100,
        at_end: bool = True,
        patience: int | None = None,
        keep: dict[str, Any] | None = None,
        report: Callable[[int, float], None] | None = None,
    ) -> None:
        self.best_path = Path(folder) / "best.ckpt"
        self.ranks_path = Path(folder).parent / "dev_ranks.npz"
        self.last_path = Path(folder) / "last.ckpt"
        self.every = every
        self.at_end = at_end
        self.patience = patience
        self.keep = keep or {}
        self.report = report
        self.best: dict[str, float] = {"rsum": -1.0}
        self.validated_at = -1
        self.without_gain = 0
        self._random_states: list[dict[str, Any]] | None = None
        self._started = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rank, states = trainer.global_rank, self._random_states
        if states is not None and rank < len(states):
            _restore_random_state(states[rank])
        elif rank:
            torch.manual_seed(torch.initial_seed() + rank)  # each process its own dropout
        self._random_states = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        # with accumulated gradients several batches share a step
        due = trainer.is_last_batch if self.every is None else step > 0 and step % self.every == 0
        if due and step != self.validated_at:
            self._validate(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = trainer.global_step
        if (self.at_end and step != self.validated_at) or self.best["rsum"] < 0:
            self._validate(trainer)

    def _validate(self, trainer: Trainer) -> None:
        loop, connector = trainer.fit_loop.epoch_loop.val_loop, trainer._logger_connector
        first = connector._first_loop_iter  # what Lightning keeps too where it starts this loop
        trainer.validating, trainer.limit_val_batches, loop.restarting = True, 1.0, False
        loop.run()
        trainer.training, trainer.limit_val_batches = True, 0
        connector._first_loop_iter = first
        trainer.save_checkpoint(self.last_path, weights_only=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # and not behind the loop, so that a ModelCheckpoint, which comes last, saves what is new
        assert isinstance(pl_module, RetrievalModule)
        evaluation = pl_module.validated
        assert evaluation is not None
        metrics, step = evaluation.metrics, trainer.global_step
        self.validated_at = step
        if metrics["rsum"] > self.best["rsum"]:
            self.best, self.without_gain = metrics, 0
            if trainer.is_global_zero:
                extra = {"dev": metrics, "step": step, **self.keep}
                if pl_module.loss.logit is not None:
                    extra["logit"] = pl_module.loss.logit._asdict()
                save_model(pl_module.evaluated_model, self.best_path, extra)
                write_ranks(self.ranks_path, evaluation)
        else:
            self.without_gain += 1
        log.info("%s", self._line(trainer, metrics))
        if self.patience is not None and self.without_gain >= self.patience:
            trainer.should_stop = True
        for config in trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                config.scheduler.step(metrics["rsum"])
        if self.report is not None:
            # from where the training is, so that it is right also after going on in its middle
            every = self.every
            number = trainer.current_epoch + 1 if every is None else math.ceil(step / every)
            self.report(number, metrics["rsum"])

    def _line(self, trainer: Trainer, metrics: dict[str, float]) -> str:
        epoch = min(trainer.current_epoch + 1, trainer.max_epochs or 1)
        annotation = " ".join(f"{metrics[f'aR@{k}']:.1f}" for k in (1, 5, 10))
        search = " ".join(f"{metrics[f'sR@{k}']:.1f}" for k in (1, 5, 10))
        best = f"(best {self.best['rsum']:.1f})" if self.without_gain else "*"
        return (
            f"epoch {epoch}, update {trainer.global_step}: "
            f"aR {annotation} ({metrics['aMedr']:.0f}) sR {search} ({metrics['sMedr']:.0f}) "
            f"rsum {metrics['rsum']:.1f} {best}"
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": dict(self.best),
            "validated_at": self.validated_at,
            "without_gain": self.without_gain,
            "random": _random_states(),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.best_path.is_file():
            self.best = state_dict["best"]
            self.validated_at = state_dict["validated_at"]
            self.without_gain = state_dict["without_gain"]
        else:
            log.warning("%s is gone: the best model from here on is kept.", self.best_path)
        self._random_states = state_dict["random"]
        self._started -= state_dict["seconds"]

    @property
    def seconds(self) -> float:
        """How long this run has taken, with what it took before it was interrupted."""
        return time.perf_counter() - self._started


def _random_states() -> list[dict[str, Any]]:
    """States of torch's generators in each process; data and negatives have some of their own."""
    own = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, own)
    return states


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
