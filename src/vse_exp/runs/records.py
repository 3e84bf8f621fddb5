"""One line a run in a CSV: what is left of runs when their folders are gone."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vse_exp.errors import UserError
from vse_exp.files import write_text
from vse_exp.runs.run import Run


def write_records(
    path: Path, runs: Sequence[Run], keys: Sequence[str], metrics: Sequence[str]
) -> None:
    """One line a finished run: the config keys and the seed, then the figures as they are."""
    columns = [*dict.fromkeys([*keys, "seed"]), *metrics]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        if run.status == "finished":
            row = {key: _cell(run.setting(key)) for key in columns if not _is_figure(key)}
            writer.writerow(row | {metric: _figure(run.value(metric)) for metric in metrics})
    write_text(path, text.getvalue())


def read_records(path: Path) -> list[Run]:
    """The runs of such a file. UserError for a line that is not one run's, naming it."""
    with open(path, newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        columns = reader.fieldnames or []
        if "seed" not in columns or not any(_is_figure(column) for column in columns):
            raise UserError(f"{path} does not hold runs: write it with summarize --records.")
        return [_run(f"{path}:{reader.line_num}", row) for row in reader]


def same_run(record: Run, run: Run) -> bool:
    """Whether all that the record says of its run's settings holds of `run`."""
    return all(_cell(run.setting(key)) == _cell(value) for key, value in record.config.items())


def _run(place: str, row: dict[str, Any]) -> Run:
    config: dict[str, Any] = {}
    results: dict[str, Any] = {}
    for column, cell in row.items():
        if column is None or cell is None:
            raise UserError(f"{place} has more or fewer cells than the first line names columns.")
        if not _is_figure(column):
            config[column] = cell or None
        elif cell:
            try:
                figure = float(cell)
            except ValueError as error:
                raise UserError(f"{place}, {column}: {cell!r} is not a number.") from error
            split, dot, metric = column.partition(".")
            (results.setdefault(split, {}) if dot else results)[metric or split] = figure
    asked = {key: value for key, value in config.items() if value is not None}
    return Run(Path(place), config, asked, results, "finished")


def _is_figure(column: str) -> bool:
    """Every other column is a config key."""
    return column.startswith(("dev.", "test.")) or column in ("parameters", "seconds")


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _figure(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.2f}".rstrip("0").rstrip(".")
