"""Results as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("aR@1", "aR@5", "aR@10", "aMedr", "sR@1", "sR@5", "sR@10", "sMedr", "rsum")


def results_table(rows: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """A line a split (or run) of aR@K, sR@K, median ranks and rsum."""
    table = Table(title=title or None)
    table.add_column("")
    for heading in COLUMNS:
        table.add_column(heading, justify="right")
    for name, metrics in rows.items():
        values = (f"{metrics[key]:.{0 if key.endswith('Medr') else 1}f}" for key in COLUMNS)
        table.add_row(name, *values)
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
