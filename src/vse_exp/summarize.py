"""`python -m vse_exp.summarize RUNS…`: one table over runs, grouped over seeds, and plots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vse_exp.alive import alive
from vse_exp.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("vse_exp.summarize", description=__doc__)
    parser.add_argument("runs", nargs="+",
                        help="run folders, folders that hold them, files of --records, and of "
                        "`evaluate output=FILE.json`")  # fmt: skip
    parser.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE",
                        help="only runs of that config value; may be repeated")  # fmt: skip
    parser.add_argument("--group", action="append", default=[], metavar="KEY",
                        help="keys to group by (default: all asked for, but the seed)")  # fmt: skip
    parser.add_argument("--columns", metavar="METRIC,METRIC,…", type=lambda text: text.split(","),
                        help="the figures shown (default: all of dev.rsum … seconds)")  # fmt: skip
    parser.add_argument("--sort", metavar="METRIC|KEY",
                        help="test.aR@1, seconds, …, or a config key (default: dev.rsum, else "
                        "test.rsum)")  # fmt: skip
    parser.add_argument(
        "--csv", type=Path, help="write the table as CSV, with deviations in columns of their own"
    )
    parser.add_argument("--records", type=Path,
                        help="write a line a run as CSV: keys, seed, figures; such a file can be "
                        "given as RUNS beside new runs")  # fmt: skip
    parser.add_argument("--markdown", type=Path, help="write the table as Markdown")
    parser.add_argument("--html", type=Path, help="write the table and the plots as a page")
    parser.add_argument("--plots", dest="plots_folder", type=Path, help="folder for plots (PNG)")
    asked = vars(parser.parse_args(arguments))
    try:
        with alive("summarize"):
            from vse_exp.runs.summarizing import summarize

            summarize(**asked)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
