"""One row a configuration: mean and standard deviation over seeds."""

from __future__ import annotations

import csv
import html
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from vse_exp.errors import UserError
from vse_exp.runs.run import Run

METRICS = (
    "dev.rsum", "test.rsum", "test.aR@1", "test.aR@5", "test.aR@10", "test.aMedr",
    "test.sR@1", "test.sR@5", "test.sR@10", "test.sMedr", "parameters", "seconds",
)  # fmt: skip

SHORT = ("dev.rsum", "test.rsum", "test.aR@1", "test.sR@1")


@dataclass(frozen=True)
class Group:
    """Runs of one configuration; `settings` are the keys in which the groups differ."""

    settings: dict[str, Any]
    runs: list[Run]

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation; None for fewer than two runs."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def values(self, metric: str) -> list[float]:
        found = (run.value(metric) for run in self.runs)
        return [value for value in found if value is not None]

    @property
    def name(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.settings.items()) or "all"


def group_runs(runs: Sequence[Run], keys: Sequence[str] = ()) -> list[Group]:
    """Group runs by `keys`, or by all that was asked for on their command lines but the seed.

    UserError for a key that no run has.
    """
    for key in keys:
        if all(run.setting(key) is None for run in runs):
            raise UserError(f"No run has the config key {key!r} (--group).")
    asked = dict.fromkeys(key for run in runs for key in run.recipe)
    chosen = keys or [key for key in asked if len({str(run.setting(key)) for run in runs}) > 1]
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(str(run.setting(key)) for key in chosen), []).append(run)
    return [
        Group({key: members[0].setting(key) for key in chosen}, members)
        for members in groups.values()
    ]


def sort_groups(groups: Sequence[Group], by: str) -> list[Group]:
    """By a metric, the largest first, or by a config key; groups without it come last."""
    if groups and by in groups[0].settings:
        return sorted(groups, key=lambda group: str(group.settings[by]))
    if not any(group.values(by) for group in groups):
        raise UserError(f"Nothing to sort by: no finished run has {by!r} (--sort).")
    return sorted(groups, key=lambda group: -(group.mean(by) or float("-inf")))


def check_metrics(groups: Sequence[Group], metrics: Sequence[str]) -> None:
    """UserError for a metric that no finished run has."""
    finished = any(run.results is not None for group in groups for run in group.runs)
    for metric in metrics:
        if finished and not any(group.values(metric) for group in groups):
            raise UserError(
                f"No run has the figure {metric!r} (--columns): choose of {', '.join(METRICS)}."
            )


def table_rows(
    groups: Sequence[Group], metrics: Sequence[str] = METRICS, apart: bool = False
) -> list[dict[str, str]]:
    """Rows of text: the settings, finished of all runs, then each metric as mean ± deviation, or
    `apart` in two columns, the second named `METRIC std`."""
    rows: list[dict[str, str]] = []
    for group in groups:
        row = {key: "" if value is None else str(value) for key, value in group.settings.items()}
        finished = sum(run.status == "finished" for run in group.runs)
        row["runs"] = f"{finished}/{len(group.runs)}"
        for metric in metrics:
            mean, deviation = _figure(group, metric)
            if apart:
                row |= {metric: mean}
                row |= {} if metric == "parameters" else {f"{metric} std": deviation}
            else:
                row[metric] = f"{mean} ± {deviation}" if deviation else mean
        rows.append(row)
    return rows


def _figure(group: Group, metric: str) -> tuple[str, str]:
    """Mean and deviation as text, empty where there is none."""
    mean, deviation = group.mean(metric), group.deviation(metric)
    if mean is None:
        return "", ""
    digits = 0 if metric in ("parameters", "seconds") or metric.endswith("Medr") else 1
    spread = "" if deviation is None or metric == "parameters" else f"{deviation:.1f}"
    return f"{mean:.{digits}f}", spread


def rich_table(rows: Sequence[dict[str, str]]) -> Table:
    """For a terminal, which has no room for all: settings, runs, and the metrics of SHORT."""
    columns = [column for column in (rows[0] if rows else ()) if column not in METRICS]
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for column in SHORT:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[column] for column in (*columns, *SHORT)))
    return table


def as_csv(rows: Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def as_html(rows: Sequence[dict[str, str]], pictures: Sequence[str] = ()) -> str:
    """A page of its own: the table, then the pictures by their paths beside it."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in (rows[0] if rows else {}))
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row.values()) + "</tr>"
        for row in rows
    )
    images = "".join(f'<p><img src="{html.escape(one)}" alt=""></p>' for one in pictures)
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color-scheme:light dark}"
        "table{border-collapse:collapse}th,td{padding:.3rem .7rem;border-bottom:1px solid #8884;"
        "text-align:right}th:first-child,td:first-child{text-align:left}img{max-width:100%}"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs</title>'
        f"<style>{style}</style><h1>Runs</h1><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{images}</html>\n"
    )
