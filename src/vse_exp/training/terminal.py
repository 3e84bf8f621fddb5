"""What people see of a training: what it is made of, how far it is, what came out and what next."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from vse_exp.alive import doing, line_due, rest, spoken
from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.evaluation.tables import print_results
from vse_exp.runs.folder import RunFolder

log = logging.getLogger(__name__)

# what of a training's overrides other commands need to find the same data
_OF_THE_DATA = (
    "data=", "data.name=", "data.root=", "data.files.", "data.pictures=", "data.scenes.",
    "data.normalize_features=", "paths.data_dir=",
)  # fmt: skip

FEW = 200
"""Updates under which a training is told to be short."""


class TrainingProgress(ProgressBar):
    """One bar over the whole training on a terminal (`shown`), else a line in the log where nothing
    else was told for long (`line_due`)."""

    def __init__(self, shown: bool) -> None:
        super().__init__()
        self.shown = shown
        self.bar: Progress | None = None
        self.figures: dict[str, float] = {}
        self.best = -1.0
        self._started = (0.0, 0)
        self._told = 0.0
        self._telling = ExitStack()  # by itself, without a sign of life beside it

    def disable(self) -> None:
        """Other processes than the first show nothing."""
        self.shown = False

    def enable(self) -> None:
        """The first process shows what was asked for."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for line in opening_lines(trainer, pl_module):
            log.info(line)
        if (_updates(trainer) or FEW) < FEW and trainer.limit_train_batches == 1.0:
            log.warning(
                "so few updates teach little: small data want a smaller data.batch_size, or more "
                "max_epochs"
            )
        self._told = time.monotonic()
        self._started = self._told, trainer.global_step
        self._telling.enter_context(rest())
        if not self.shown:
            return
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
            transient=True,
            expand=True,
        )
        self.bar.add_task("", total=_updates(trainer), completed=trainer.global_step, figures="")
        self.bar.start()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self.bar is not None:
            self._draw(trainer)
        elif line_due(self._started[0], self._told):
            self._told = time.monotonic()
            step = trainer.global_step
            log.info("%s, update %s%s", _epoch(trainer), step, self._left(trainer))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._telling.close()
        doing("validating")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.figures = {
            name.removeprefix("val/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        self.best = max(self.best, self.figures.get("rsum", -1.0))
        self._told = time.monotonic()
        self._telling.enter_context(rest())
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if self.bar is None:
            return
        self.bar.update(
            self.bar.task_ids[0],
            completed=trainer.global_step,
            description=_epoch(trainer),
            figures=f"dev rsum {self.figures['rsum']:.1f}, best {self.best:.1f}"
            if self.figures
            else "",
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def _stop(self) -> None:
        self._telling.close()
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _left(self, trainer: Trainer) -> str:
        total, (began, first) = _updates(trainer), self._started
        done = trainer.global_step - first
        if total is None or done <= 0:
            return ""
        left = (total - trainer.global_step) * (time.monotonic() - began) / done
        return f" of {total}, {spoken(left)} left"


def opening_lines(trainer: Trainer, module: LightningModule) -> list[str]:
    """A line each for data, model and training."""
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]  # its connectors set it
    return [_data_line(datamodule), _model_line(module.model), _training_line(trainer)]


def _data_line(datamodule: RetrievalDataModule) -> str:
    train, dev, test = (datamodule.split(name) for name in ("train", "dev", "test"))
    size = "x".join(map(str, train.image_features.shape[1:]))
    return (
        f"data: {datamodule.config['name']}, {len(train.image_features):,} images of {size}, "
        f"{len(train.captions):,} captions, {len(datamodule.vocabulary.words):,} words; "
        f"dev {len(dev.image_features):,}, test {len(test.image_features):,}"
    )


def _model_line(model: Any) -> str:
    parts = ", ".join(
        f"{type(part).__name__} {count:,}"
        for part in model.children()
        if (count := _parameters(part))
    )
    return f"model: {_parameters(model):,} parameters ({parts})"


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _training_line(trainer: Trainer) -> str:
    device = trainer.strategy.root_device
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    precision = "" if str(trainer.precision) == "32-true" else f", {trainer.precision}"
    updates = _updates(trainer)
    of = "until the time is up"
    if updates is not None:
        of = f"about {updates:,} updates in {trainer.max_epochs} epochs"
    return f"training: {of}, on {device}{processes}{precision}"


def _updates(trainer: Trainer) -> int | None:
    updates = trainer.estimated_stepping_batches
    return None if updates == float("inf") else int(updates)


def _epoch(trainer: Trainer) -> str:
    epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{epochs}"


def tell_end(
    results: Mapping[str, Any],
    run_dir: str,
    data: str,
    overrides: Sequence[str],
    trust: Iterable[str] = (),
) -> None:
    """The table of results, where the model lies, and the next commands ready to paste.

    `data`: the config group that was chosen; `overrides`: what was asked for; `trust`: packages of
    the model's parts from outside.
    """
    print_results(results)
    console = Console()
    checkpoint = RunFolder(run_dir).best

    def tell(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    tell(f"model: {checkpoint} (trained in {spoken(results['seconds'])})")
    of_data = [one for one in overrides if one.startswith(_OF_THE_DATA[1:])]
    trusted = [f"trust=[{','.join(sorted(trust))}]"] if trust else []
    given = shlex.join([f"checkpoint={checkpoint}", *trusted, f"data={data}", *of_data])
    tell("next:")
    for verb, more in (("evaluate", ""), ("report", " output=report"), ("demo", "")):
        tell(f"  python -m vse_exp.{verb} {given}{more}")
