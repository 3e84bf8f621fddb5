"""Results as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vse_exp.evaluation.choices import Choice

COLUMNS = ("aR@1", "aR@5", "aR@10", "aMedr", "sR@1", "sR@5", "sR@10", "sMedr", "rsum")


def results_table(rows: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """A line a split (or run) of aR@K, sR@K, median ranks and rsum."""
    columns = [key for key in COLUMNS if all(key in metrics for metrics in rows.values())]
    table = Table(title=title or None)
    table.add_column("")
    for heading in columns:
        table.add_column(heading, justify="right")
    for name, metrics in rows.items():
        table.add_row(name, *(f"{metrics[key]:.{_digits(key)}f}" for key in columns))
    return table


def _digits(name: str) -> int:
    return 0 if name.endswith("Medr") else 1


def further_table(
    metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> Table | None:
    """A line a metric, with its interval, in both directions, of those that `results_table` has
    not; None where there are none."""
    names = [
        key[1:] for key in metrics if key[0] == "a" and f"s{key[1:]}" in metrics
        and key not in (*COLUMNS, "aMeanr")
    ]  # fmt: skip
    names = [*names, *(key for key in metrics if key.startswith("1k_"))]
    if not names:
        return None
    table = Table()
    for heading in ("", "annotation", "search"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in names:
        keys = [name] if name.startswith("1k_") else [f"a{name}", f"s{name}"]
        cells = [_with_interval(key, metrics[key], intervals) for key in keys]
        table.add_row(name, *cells)
    return table


def _with_interval(
    name: str, value: float, intervals: Mapping[str, tuple[float, float]], digits: int = 1
) -> str:
    if name not in intervals:
        return f"{value:.{digits}f}"
    low, high = intervals[name]
    # a backslash keeps rich from reading the bracket as markup
    return f"{value:.{digits}f} \\[{low:.{digits}f}, {high:.{digits}f}]"


def agreement_table(
    figures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], caption: str
) -> Table:
    """A line a correlation with human judgements."""
    table = Table(caption=caption)
    table.add_column("")
    table.add_column("percent", justify="right")
    for name, value in figures.items():
        table.add_row(name, _with_interval(name, value, intervals))
    return table


def choice_table(choices: Mapping[str, Choice], title: str) -> Table:
    """A line a test of choice; a model that ties everywhere counts words and does not read."""
    table = Table(title=title)
    for heading in ("", "accuracy", "ties", "chance", "choices"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in choices.items():
        accuracy = f"{one.accuracy:.1f} \\[{one.low:.1f}, {one.high:.1f}]"
        if one.ties > 99.5:
            accuracy = "ties: a bag of words"
        table.add_row(name, accuracy, f"{one.ties:.1f}", f"{one.chance:.1f}", f"{one.n:,}")
    return table


def translation_table(figures: Mapping[str, Mapping[str, float]]) -> Table:
    """A line a direction of captions of one language that look for those of another."""
    table = Table(title="captions that find those of the same image")
    columns = ("R@1", "R@5", "R@10", "Medr")
    for heading in ("", *columns):
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in figures.items():
        table.add_row(name, *(f"{one[key]:.{_digits(key)}f}" for key in columns))
    return table


def eccv_table(metrics: Mapping[str, float]) -> Table:
    """A line a figure of ECCV Caption and CxC, in both directions."""
    table = Table()
    table.add_column("")
    for heading in ("annotation", "search"):
        table.add_column(heading, justify="right")
    for source, name in (("eccv", "ECCV"), ("cxc", "CxC")):
        for key in metrics:
            figure = key.removeprefix(f"{source}_a")
            if figure != key:
                both = (f"{metrics[f'{source}_{side}{figure}']:.1f}" for side in "as")
                table.add_row(f"{name} {figure}", *both)
    return table


def print_results(results: Mapping[str, Any]) -> None:
    """The table of dev and test of a training, with the protocol under it."""
    splits = {name: results[name] for name in ("dev", "test")}
    console = Console()
    console.print(results_table(splits))
    console.print(results["test"]["protocol"], style="dim", highlight=False)
