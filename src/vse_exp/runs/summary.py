"""One row a configuration: mean and standard deviation over seeds."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from vse_exp.errors import UserError
from vse_exp.runs.collect import asked_keys, figures, settings, status

METRICS = (
    "dev.rsum", "test.rsum", "test.aR@1", "test.aR@5", "test.aR@10", "test.aMedr",
    "test.sR@1", "test.sR@5", "test.sR@10", "test.sMedr", "parameters", "seconds",
)  # fmt: skip

SHORT = ("dev.rsum", "test.rsum", "test.aR@1", "test.sR@1")


def group_keys(runs: pd.DataFrame, keys: Sequence[str] = ()) -> list[str]:
    """`keys`, or all in which the runs differ that were asked for on their command lines but the
    seed; and `data.name` where there is more than one data set, whose figures are no one's mean.

    UserError for a key that no run has.
    """
    for key in keys:
        if not any(settings(runs, key)):
            raise UserError(f"No run has the config key {key!r} (--group).")
    chosen = list(keys) or [key for key in asked_keys(runs) if _differs(runs, key)]
    if len(set(data_sets(runs))) > 1 and not {"data", "data.name"} & {*chosen}:
        chosen = ["data.name" if _differs(runs, "data.name") else "data", *chosen]
    if not keys and "data.name" in chosen and all(settings(runs, "data.name")):
        chosen = [key for key in chosen if key != "data"]  # which says less
    return chosen


def data_sets(runs: pd.DataFrame) -> list[str]:
    """The name of each run's data set; records may know it by its group alone."""
    named = zip(settings(runs, "data.name"), settings(runs, "data"), strict=True)
    return [name or group for name, group in named]


def group_runs(runs: pd.DataFrame, keys: Sequence[str], sort: str) -> list[pd.DataFrame]:
    """The runs of each configuration, in the order of a config key or a figure, the best first;
    groups without it come last. UserError for a figure that no finished run has."""
    cells = pd.Series(list(zip(*(settings(runs, key) for key in keys), strict=True)))
    groups = [runs.iloc[rows.index] for _, rows in cells.groupby(cells, sort=False)] or [runs]
    if sort in keys:
        levels = order(settings(runs, sort))
        return sorted(groups, key=lambda group: levels.index(settings(group, sort)[0]))
    if "finished" not in status(runs):
        return groups
    if not len(figures(runs, sort)):
        raise UserError(f"Nothing to sort by: no finished run has {sort!r} (--sort).")
    return sorted(groups, key=lambda group: -mean(figures(group, sort), -np.inf))


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """For each key its last word where no other key has the same, else as much as is needed."""
    named: dict[str, str] = {}
    for key in keys:
        words = key.removesuffix(".name").split(".")
        tails = (".".join(words[-length:]) for length in range(1, len(words) + 1))
        alone = (
            tail
            for tail in tails
            if all(other == key or not f".{other}".endswith(f".{tail}") for other in keys)
        )
        named[key] = next(alone, key)
    return named


def mean(values: np.ndarray, default: float = 0.0) -> float:
    return float(values.mean()) if len(values) else default


def order(values: Sequence[str]) -> list[str]:
    """Distinct values, in the order of their size where they are numbers."""
    try:
        return sorted(set(values), key=float)
    except ValueError:
        return sorted(set(values))


def check_metrics(runs: pd.DataFrame, metrics: Sequence[str]) -> None:
    """UserError for a metric that no finished run has."""
    for metric in metrics if "finished" in status(runs) else ():
        if not len(figures(runs, metric)):
            raise UserError(
                f"No run has the figure {metric!r} (--columns): choose of {', '.join(METRICS)}."
            )


def group_table(
    groups: Sequence[pd.DataFrame],
    keys: Sequence[str],
    metrics: Sequence[str] = METRICS,
    apart: bool = False,
) -> pd.DataFrame:
    """Text: the keys, finished of all runs, then each metric as mean ± deviation, or `apart` in two
    columns, the second named `METRIC std`."""
    rows: list[dict[str, str]] = []
    for group in groups:
        row = {key: settings(group, key)[0] for key in keys}
        row["runs"] = f"{status(group).count('finished')}/{len(group)}"
        for metric in metrics:
            average, spread = _figure(figures(group, metric), metric)
            row[metric] = f"{average} ± {spread}" if spread and not apart else average
            if apart and metric != "parameters":
                row[f"{metric} std"] = spread
        rows.append(row)
    return pd.DataFrame(rows)


def _differs(runs: pd.DataFrame, key: str) -> bool:
    return len(set(settings(runs, key))) > 1


def _figure(values: np.ndarray, metric: str) -> tuple[str, str]:
    """Mean and sample standard deviation as text, empty where there is none."""
    if not len(values):
        return "", ""
    digits = 0 if metric in ("parameters", "seconds") or metric.endswith("Medr") else 1
    spread = "" if len(values) < 2 or metric == "parameters" else f"{values.std(ddof=1):.1f}"
    return f"{values.mean():.{digits}f}", spread


def terminal_table(groups: Sequence[pd.DataFrame], keys: Sequence[str], width: int) -> Table:
    """A line a configuration, with as many figures of SHORT as the terminal has room for.

    A column a key where that fits, else all of a configuration in one, which folds between words.
    """
    names = short_keys(keys)
    rows = group_table(groups, keys, SHORT).rename(columns=names)
    for name in names.values():
        rows[name] = rows[name].map(rounded)
    labels = pd.DataFrame({"configuration": [label(group, names) for group in groups]})
    figures = list(SHORT)
    while _width(rows[[*names.values(), "runs", *figures]]) > width and len(figures) > 2:
        figures.pop()
    shown = rows[[*names.values(), "runs", *figures]]
    if _width(shown) > width or not names:
        shown = pd.concat([labels, rows[["runs", *figures]]], axis=1)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_shared(groups))
    for heading in shown:
        figure = heading in ("runs", *figures)
        table.add_column(str(heading), justify="right" if figure else "left", no_wrap=figure)
    for cells in shown.to_numpy():
        table.add_row(*cells)
    return table


def label(group: pd.DataFrame, names: Mapping[str, str]) -> str:
    """What tells a group from others, in few words."""
    values = ((name, settings(group, key)[0]) for key, name in names.items())
    return ", ".join(f"{name} {rounded(value)}" for name, value in values if value) or "all runs"


def rounded(value: str, longest: int = 40) -> str:
    """A long number with four digits, and of a path its end."""
    try:
        return f"{float(value):.4g}" if len(value) > 6 else value
    except ValueError:
        return value if len(value) <= longest else f"…{value[1 - longest :]}"


def _width(rows: Any) -> int:
    return sum(max(len(str(name)), rows[name].str.len().max()) + 3 for name in rows)


def _shared(groups: Sequence[pd.DataFrame]) -> str | None:
    """What was asked for alike in all runs."""
    runs = pd.concat(groups)
    shared = {key: settings(runs, key)[0] for key in asked_keys(runs) if not _differs(runs, key)}
    names = short_keys(list(shared))
    told = ", ".join(f"{names[key]} {rounded(value)}" for key, value in shared.items())
    return f"all: {told}" if told else None


def as_markdown(table: pd.DataFrame) -> str:
    lines = [list(table), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def as_html(table: pd.DataFrame, pictures: Sequence[str] = ()) -> str:
    """A page of its own: the table, then the pictures by their paths beside it."""
    images = "".join(
        f'<p><img src="{html.escape(one)}" alt="{html.escape(PurePath(one).stem)}"></p>'
        for one in pictures
    )
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem}:root{color-scheme:light dark}"
        "table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #8884;"
        "text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}"
        "img{max-width:100%}div{overflow-x:auto}"
    )
    with pd.option_context("display.max_colwidth", None):
        rows = table.to_html(index=False, border=0)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{style}</style><main><h1>Runs</h1>"
        f'<div tabindex="0" role="region" aria-label="Table">{rows}</div>{images}</main></html>\n'
    )
