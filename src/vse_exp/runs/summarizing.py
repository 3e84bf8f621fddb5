"""The table over runs: shown, and written as what was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from vse_exp.alive import doing
from vse_exp.files import write_text
from vse_exp.runs import collect, plots, summary


def summarize(
    runs: Sequence[str | Path],
    filter: Sequence[str] = (),
    group: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    csv: Path | None = None,
    records: Path | None = None,
    markdown: Path | None = None,
    html: Path | None = None,
    plots_folder: Path | None = None,
) -> None:
    """Print the runs' table, and those that are not finished; write the files that are named.

    UserError for keys, figures and places that no run has.
    """
    doing("reading runs")
    found = collect.select(collect.collect_runs(runs), filter)
    keys = summary.group_keys(found, group)
    there = [metric for metric in summary.METRICS if len(collect.figures(found, metric))]
    known = there or summary.METRICS
    metrics = columns or known
    groups = summary.group_runs(found, keys, sort or known[0])
    summary.check_metrics(found, metrics)
    table = summary.group_table(groups, keys, metrics)
    console = Console()
    console.print(summary.terminal_table(groups, keys, console.width))
    told = (found["run", column] for column in ("path", "status", "reason"))
    for path, status, reason in zip(*told, strict=True):
        if status != "finished":
            console.print(f"{status}: {path} {reason}", highlight=False, soft_wrap=True)
    doing("writing")
    pictures = plots.draw_plots(groups, keys, plots_folder) if plots_folder else []
    if csv is not None:
        apart = summary.group_table(groups, keys, metrics, apart=True)
        write_text(csv, apart.to_csv(index=False, lineterminator="\n"))
    if records is not None:
        collect.write_records(records, groups, keys, metrics)
    if markdown is not None:
        write_text(markdown, summary.as_markdown(table))
    if html is not None:
        beside = [os.path.relpath(picture, html.parent) for picture in pictures]
        write_text(html, summary.as_html(table.rename(columns=summary.short_keys(keys)), beside))
    for written in (csv, records, markdown, html, *pictures):
        if written is not None:
            print(f"wrote {written}", file=sys.stderr)
