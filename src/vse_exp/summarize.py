"""`python -m vse_exp.summarize RUNS…`: one table over runs, grouped over seeds, and plots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vse_exp.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("vse_exp.summarize", description=__doc__)
    parser.add_argument("runs", nargs="+",
                        help="run folders, folders that hold them, files of --records")  # fmt: skip
    parser.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE",
                        help="only runs of that config value; may be repeated")  # fmt: skip
    parser.add_argument("--group", action="append", default=[], metavar="KEY",
                        help="keys to group by (default: all asked for, but the seed)")  # fmt: skip
    parser.add_argument("--columns", metavar="METRIC,METRIC,…",
                        help="the figures shown (default: all of dev.rsum … seconds)")  # fmt: skip
    parser.add_argument("--sort", default="dev.rsum", metavar="METRIC|KEY",
                        help="dev.rsum, test.aR@1, seconds, …, or a config key")  # fmt: skip
    parser.add_argument(
        "--csv", type=Path, help="write the table as CSV, with deviations in columns of their own"
    )
    parser.add_argument("--records", type=Path,
                        help="write a line a run as CSV: keys, seed, figures; such a file can be "
                        "given as RUNS beside new runs")  # fmt: skip
    parser.add_argument("--markdown", type=Path, help="write the table as Markdown")
    parser.add_argument("--html", type=Path, help="write the table and the plots as a page")
    parser.add_argument("--plots", type=Path, help="folder for plots (PNG)")
    options = parser.parse_args(arguments)
    try:
        _summarize(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _summarize(options: argparse.Namespace) -> None:
    import os

    from rich.console import Console

    from vse_exp.files import write_text
    from vse_exp.runs import collect, plots, summary

    runs = collect.select(collect.collect_runs(options.runs), options.filter)
    keys = summary.group_keys(runs, options.group)
    groups = summary.group_runs(runs, keys, options.sort)
    metrics = options.columns.split(",") if options.columns else summary.METRICS
    summary.check_metrics(runs, metrics)
    table = summary.group_table(groups, keys, metrics)
    console = Console()
    console.print(summary.terminal_table(groups, keys, console.width))
    told = (runs["run", column] for column in ("path", "status", "reason"))
    for path, status, reason in zip(*told, strict=True):
        if status != "finished":
            console.print(f"{status}: {path} {reason}", highlight=False, soft_wrap=True)
    pictures: list[Path] = []
    if options.plots is not None:
        pictures = plots.draw_plots(groups, keys, options.plots)
    if options.csv is not None:
        apart = summary.group_table(groups, keys, metrics, apart=True)
        write_text(options.csv, apart.to_csv(index=False, lineterminator="\n"))
    if options.records is not None:
        collect.write_records(options.records, groups, keys, metrics)
    if options.markdown is not None:
        write_text(options.markdown, summary.as_markdown(table))
    if options.html is not None:
        beside = [os.path.relpath(picture, options.html.parent) for picture in pictures]
        write_text(options.html, summary.as_html(table, beside))


if __name__ == "__main__":
    sys.exit(main())
