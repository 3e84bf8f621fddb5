"""Metrics as one CSV file that survives an interruption."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from vse_exp.errors import UserError
from vse_exp.files import write_text


class CSVMetrics(Logger):
    """Appends rows `step, metric, …` to `path`; a new metric adds a column.

    Unlike Lightning's CSVLogger it goes on with the file of an interrupted run: `resume_at` drops
    the rows of later updates, which will be made again.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._columns: list[str] = []
        if self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file), [])

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> CSVMetrics:
        return self

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The run folder holds the config already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": step, **metrics}
        if not set(row) <= set(self._columns):
            self._rewrite([*self._columns, *(key for key in row if key not in self._columns)])
        try:
            with open(self.path, "a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        except OSError as error:
            raise UserError(f"Cannot write {self.path}: {error.strerror or error}.") from error

    @rank_zero_only
    def resume_at(self, step: int) -> None:
        """Keep the rows up to the given update."""
        if self.path.is_file():
            self._rewrite(self._columns, last_step=step)

    def _rewrite(self, columns: list[str], last_step: float = float("inf")) -> None:
        rows: list[dict[str, str]] = []
        if self.path.is_file():
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if _step(row) <= last_step]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())
        self._columns = columns


def _step(row: dict[str, str]) -> float:
    """The update of a row; a row cut off by a kill counts as never."""
    try:
        return float(row["step"])
    except (TypeError, ValueError):
        return float("inf")
