"""Lightning's Trainer as the `trainer` group describes it, with the program's own callbacks."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.launchers import (
    _MultiProcessingLauncher,
    _SubprocessScriptLauncher,
)
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from vse_exp.alive import redraws
from vse_exp.cli import plain
from vse_exp.errors import SweepError, UserError
from vse_exp.models.checkpoint import read_checkpoint, write_checkpoint
from vse_exp.parts import build
from vse_exp.runs.folder import RunFolder
from vse_exp.training.building import build_node
from vse_exp.training.csv_logger import CSVMetrics
from vse_exp.training.log import TrainingLog
from vse_exp.training.terminal import TrainingProgress

NOT_HERE = {
    "fast_dev_run": "debug=limit runs through everything in seconds",
    "overfit_batches": "debug=overfit learns a few batches by heart",
    "limit_val_batches": "recalls are those of a whole split, so leave it out",
    "limit_test_batches": "recalls are those of a whole split, so leave it out",
    "val_check_interval": "valid_freq is the number of updates between validations",
    "check_val_every_n_epoch": "valid_freq is the number of updates between validations",
    "gradient_clip_val": "grad_clip bounds the norm of the gradients",
    "gradient_clip_algorithm": "grad_clip bounds the norm of the gradients",
    "callbacks": "give callbacks in the group of that name",
    "logger": "choose logger=tensorboard or logger=wandb, or add your own to that group",
}
"""Keys of Lightning's Trainer for which this program has its own way."""


def build_trainer(cfg: DictConfig, folder: RunFolder, last: list[pl.Callback]) -> pl.Trainer:
    """The trainer with all callbacks, `last` at their end.

    Its strategy and plugins may be given by `_target_`. Raises UserError for what cannot be had
    here, and for a training that would have no update or no end.
    """
    callbacks: list[pl.Callback] = [
        build_node(one) for one in cfg.callbacks.values() if one is not None
    ]
    progress = redraws(sys.stderr) if cfg.progress == "auto" else bool(cfg.progress)
    progress = progress and not cfg.quiet
    if not _any(callbacks, ProgressBar):
        callbacks.insert(0, TrainingProgress(progress))
    # `last` at the end, so that what they save holds the state of all others
    callbacks = [TrainingLog(cfg.disp_freq), *callbacks, *last]
    loggers = [CSVMetrics(folder.metrics)]
    loggers += [build_node(one) for one in cfg.logger.values() if one is not None]
    wanted = plain(cfg.trainer)
    for key in sorted(NOT_HERE.keys() & wanted.keys()):
        raise UserError(f"trainer.{key} is not for this program: {NOT_HERE[key]}.")
    own = {
        "logger": loggers,
        "callbacks": callbacks,
        "plugins": [
            AtomicCheckpointIO(),
            *(build(one) for one in wanted.pop("plugins", None) or []),
        ],
        "default_root_dir": folder.path,
        "enable_checkpointing": _any(callbacks, Checkpoint),
        "enable_model_summary": _any(callbacks, ModelSummary),
        "enable_progress_bar": True,  # ours, which may be lines
        # RetrievalValidation runs Lightning's validation loop, between two updates
        "limit_val_batches": 0,
        "check_val_every_n_epoch": None,
        "val_check_interval": cfg.valid_freq or 1,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        # which captions are in an epoch or together decides how many batches it has
        "reload_dataloaders_every_n_epochs": int(
            cfg.data.captions_per_epoch is not None or cfg.data.captions_together > 1
        ),
    }
    if clash := sorted(own.keys() & wanted.keys()):
        raise UserError(
            f"trainer.{clash[0]} is set by the program itself: leave it out (~trainer.{clash[0]})."
        )
    if not torch.are_deterministic_algorithms_enabled():  # to say so imports torch's compiler
        wanted["deterministic"] = wanted.get("deterministic") or None
    try:
        trainer = build({"_target_": "lightning.pytorch.Trainer"} | wanted | own, where="trainer")
    except (ValueError, MisconfigurationException) as error:  # no such device, precision, …
        raise UserError(f"trainer in the config: {error}") from None
    _check(trainer, wanted)
    return trainer


def starting_device(trainer: pl.Trainer) -> torch.device:
    """Where to do what is done once before a training: a process that will be forked leaves its
    GPU alone."""
    forks = isinstance(trainer.strategy.launcher, _MultiProcessingLauncher)
    return torch.device("cpu") if forks else trainer.strategy.root_device


def _any(callbacks: list[pl.Callback], kind: type) -> bool:
    return any(isinstance(one, kind) for one in callbacks)


def _check(trainer: pl.Trainer, wanted: dict[str, Any]) -> None:
    """UserError for a trainer that this program cannot use."""
    endless = trainer.max_epochs in (None, -1) and trainer.max_steps == -1
    if endless and wanted.get("max_time") is None:
        raise UserError(
            "max_epochs=null would train for ever: give a number, or trainer.max_steps or "
            "trainer.max_time."
        )
    if 0 in (trainer.max_epochs, trainer.max_steps):
        raise UserError("max_epochs and trainer.max_steps must leave at least one update.")
    cores = os.cpu_count() or 1
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > max(8, 2 * cores):
        raise UserError(
            f"trainer.devices={trainer.num_devices} asks for many more processes than this machine "
            f"has cores, {cores}: give at most that."
        )
    if isinstance(trainer.strategy, FSDPStrategy | DeepSpeedStrategy | ModelParallelStrategy):
        raise UserError(
            "trainer.strategy splits the model, whose gradients are then clipped part by part: "
            "use trainer=ddp."
        )
    multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if multirun and isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        raise SweepError(
            "trainer=ddp starts processes that would each run the whole sweep: in a multirun use "
            "trainer.strategy=ddp_spawn, or one command a run."
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written so that a kill or a full disk leaves the last one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        write_checkpoint(checkpoint, path)

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(path)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's advice that does not hold here is not shown."""
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",
            ".*LeafSpec.*",
            ".*is smaller than the logging interval.*",
            ".*in eval mode at the start of training.*",  # frozen encoders are
            ".*`srun` command is available.*",
            ".*only allows '_', '/'.*",  # MLflow's names of metrics, which conf/logger tells
            ".*sync_dist=True.*",  # every process computes the same metrics
        ):
            warnings.filterwarnings("ignore", message=message)
        yield
