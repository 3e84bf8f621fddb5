"""A recipe of ours that repeats the recorded updates of the program it is from.

Model, loss, optimiser, schedule and clipping are those of the composed experiment file; only
sizes and batches are the recording's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from conftest import composed
from vse_exp.data.loading import PairBatch
from vse_exp.models.vse import VSE
from vse_exp.parts import build
from vse_exp.text.vocabulary import Vocabulary
from vse_exp.training.building import build_module, build_node, complete_model, plain
from vse_exp.training.trainer import quiet_lightning

SIZES = ("model.dim=16", "model.encoder.dim_word=12")
ROWS = [0, 2, 3, 1]
"""Our first rows of word vectors in their order: <pad>, <end>, <unk>, <start>."""


def read(path: Path) -> dict[str, Tensor]:
    with np.load(path) as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}


def part(recorded: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in recorded.items() if k.startswith(prefix)}


def rows(table: Tensor) -> Tensor:
    """Their table of word vectors in the order of our ids; what fills is zero in ours."""
    ours = torch.cat([table[ROWS], table[len(ROWS) :]])
    ours[0] = 0
    return ours


def ids(tokens: Tensor) -> Tensor:
    """Our ids for theirs."""
    ours = torch.arange(int(tokens.max()) + 1)
    ours[ROWS] = torch.arange(len(ROWS))
    return ours[tokens]


def recipe_model(experiment: str, words: int, *overrides: str) -> tuple[DictConfig, VSE]:
    """The model of an experiment file for a vocabulary of `words` and vectors of 20 values."""
    cfg = composed("train", [f"experiment={experiment}", "data=f8k", *SIZES, *overrides])
    options = cfg.data.vocabulary
    vocabulary = Vocabulary(
        [*options.prefix, *(f"w{i}" for i in range(words))],
        build_node(options.tokenizer),
        options.prefix,
    )
    return cfg, build(complete_model(plain(cfg.model), cfg.seed), vocabulary, 20)


class Repeated(pl.Callback):
    """Trains on the batches, given as an epoch of them each, and keeps what is to be compared."""

    def __init__(self, cfg: DictConfig, model: VSE, batches: list[PairBatch], epoch: int) -> None:
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.states: list[dict[str, Tensor]] = []
        self.updates = len(batches)
        self.module = build_module(cfg, model)
        with quiet_lightning():
            trainer = pl.Trainer(
                max_epochs=cfg.max_epochs,
                accelerator="cpu",
                callbacks=[self],
                limit_val_batches=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            loader: Any = DataLoader(
                batches,  # type: ignore[arg-type]  # a list has what it needs of a data set
                batch_size=None,
                sampler=_Turns(epoch),
            )
            trainer.fit(self.module, loader, loader)  # validation is off, and wants one

    def on_after_backward(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.gradients.append(
            {
                name: one.grad.to_dense().clone()
                for name, one in pl_module.model.named_parameters()
                if one.grad is not None
            }
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any
    ) -> None:
        self.losses.append(float(outputs["loss"]))
        self.norms.append(float(pl_module.grad_norm))
        self.states.append({k: v.clone() for k, v in pl_module.model.state_dict().items()})
        trainer.should_stop = len(self.losses) == self.updates


class _Turns(Sampler[int]):
    """The batches of each epoch in turn."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.begun = epoch, 0

    def __len__(self) -> int:
        return self.epoch

    def __iter__(self) -> Iterator[int]:
        start, self.begun = self.begun, self.begun + self.epoch
        return iter(range(start, start + self.epoch))
