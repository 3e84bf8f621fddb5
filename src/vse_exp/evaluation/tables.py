"""Results as a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from vse_exp.evaluation.choices import Choice
    from vse_exp.evaluation.statistics import Comparison

COLUMNS = ("aR@1", "aR@5", "aR@10", "aMedr", "sR@1", "sR@5", "sR@10", "sMedr", "rsum")


def results_table(rows: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """A line a split (or run) of aR@K, sR@K, median ranks and rsum."""
    columns = [key for key in COLUMNS if all(key in metrics for metrics in rows.values())]
    table = _table("", *columns, title=title or None)
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
    table = _table("", "annotation", "search")
    for name in names:
        keys = [name] if name.startswith("1k_") else [f"a{name}", f"s{name}"]
        cells = [_cell(metrics[key], intervals.get(key)) for key in keys]
        table.add_row(name, *cells)
    return table


def _cell(
    value: float, interval: tuple[float, float] | None, digits: int = 1, sign: str = ""
) -> str:
    if interval is None:
        return f"{value:{sign}.{digits}f}"
    low, high = interval
    # a backslash keeps rich from reading the bracket as markup
    return f"{value:{sign}.{digits}f} \\[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def agreement_table(
    figures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], caption: str
) -> Table:
    """A line a correlation with human judgements."""
    table = _table("", "percent", caption=caption)
    for name, value in figures.items():
        table.add_row(name, _cell(value, intervals.get(name)))
    return table


def choice_table(choices: Mapping[str, Choice], title: str) -> Table:
    """A line a test of choice; a model that ties everywhere counts words and does not read."""
    table = _table("", "accuracy", "ties", "chance", "choices", title=title)
    for name, one in choices.items():
        accuracy = _cell(one.accuracy, (one.low, one.high))
        if one.ties > 99.5:
            accuracy = "ties: a bag of words"
        table.add_row(name, accuracy, f"{one.ties:.1f}", f"{one.chance:.1f}", f"{one.n:,}")
    return table


def translation_table(figures: Mapping[str, Mapping[str, float]]) -> Table:
    """A line a direction of captions of one language that look for those of another."""
    columns = ("R@1", "R@5", "R@10", "Medr")
    table = _table("", *columns, title="captions that find those of the same image")
    for name, one in figures.items():
        table.add_row(name, *(f"{one[key]:.{_digits(key)}f}" for key in columns))
    return table


def eccv_table(metrics: Mapping[str, float]) -> Table:
    """A line a figure of ECCV Caption and CxC, in both directions."""
    table = _table("", "annotation", "search")
    for source, name in (("eccv", "ECCV"), ("cxc", "CxC")):
        for key in metrics:
            figure = key.removeprefix(f"{source}_a")
            if figure != key:
                both = (f"{metrics[f'{source}_{side}{figure}']:.1f}" for side in "as")
                table.add_row(f"{name} {figure}", *both)
    return table


def comparison_table(compared: Mapping[str, Comparison], confidence: float) -> Table:
    """A line a figure: both runs and their difference, each with its interval, and p."""
    caption = f"brackets: {confidence:.0%} bootstrap intervals over images"
    table = _table("", "a", "b", "b - a", "p", caption=caption, box=None, pad_edge=False)
    for name, one in compared.items():
        digits = _digits(name)
        a, b = _cell(one.a, one.a_interval, digits), _cell(one.b, one.b_interval, digits)
        difference = _cell(one.difference, (one.low, one.high), digits, sign="+")
        table.add_row(name, a, b, difference, f"{one.p:.4f}")
    return table


def _table(*headings: str, **options: Any) -> Table:
    """Names stand left, numbers right."""
    table = Table(**options)
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    return table


def show(tables: Iterable[Table], notes: Iterable[str]) -> None:
    """Print tables, and notes under them."""
    console = Console()
    for table in tables:
        console.print(table)
    for note in notes:
        console.print(note, style="dim", highlight=False)


def print_results(results: Mapping[str, Any]) -> None:
    """The table of dev and test of a training, with the protocol under it."""
    splits = {name: results[name] for name in ("dev", "test")}
    show([results_table(splits)], [results["test"]["protocol"]])
