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
    """One line a finished run: the config keys, those asked for on any command line among them,
    `seed` as the last of them, and then the figures."""
    asked = [key for run in runs for key in run.recipe]
    columns = [key for key in dict.fromkeys([*keys, *asked]) if key != "seed"] + ["seed"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *metrics])
    for run in runs:
        if run.status == "finished":
            figures = (run.value(metric) for metric in metrics)
            cells = ("" if figure is None else f"{figure:.10g}" for figure in figures)
            writer.writerow([*(_cell(run.setting(key)) for key in columns), *cells])
    write_text(path, text.getvalue())


def read_records(path: Path) -> list[Run]:
    """The runs of such a file. UserError for a line that is not one run's, naming it."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines)
            columns = next(reader, [])
            if "seed" not in columns:
                raise UserError(f"{path} does not hold runs: write it with summarize --records.")
            return [_run(f"{path}:{reader.line_num}", columns, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} does not hold runs ({error}): write it with summarize --records."
        ) from error


def same_run(record: Run, other: Run) -> bool:
    """Whether both are of one configuration and seed, as far as records tell."""
    keys = {*record.config, *other.recipe}
    return all(_cell(record.setting(key)) == _cell(other.setting(key)) for key in keys)


def _run(place: str, columns: Sequence[str], cells: Sequence[str]) -> Run:
    if len(cells) != len(columns):
        raise UserError(f"{place} has {len(cells)} cells, and the first line {len(columns)}.")
    n_keys = columns.index("seed") + 1
    config = {key: cell or None for key, cell in zip(columns[:n_keys], cells, strict=False)}
    results: dict[str, Any] = {}
    for column, cell in zip(columns[n_keys:], cells[n_keys:], strict=True):
        try:
            figure = float(cell) if cell else None
        except ValueError as error:
            raise UserError(f"{place}, {column}: {cell!r} is not a number.") from error
        split, dot, metric = column.partition(".")
        (results.setdefault(split, {}) if dot else results)[metric or split] = figure
    asked = {key: cell for key, cell in config.items() if cell is not None}
    return Run(Path(place), config, asked, results, "finished")


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
