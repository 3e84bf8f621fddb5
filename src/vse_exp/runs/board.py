"""The runs of a sweep as one table that fills while they train."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from vse_exp.alive import redraws
from vse_exp.errors import UserError
from vse_exp.progress import silent
from vse_exp.runs.folder import RunFolder

Row = tuple[str, str, str, str, str]


class Board:
    """On a terminal the table stands while `with` lasts, and what jobs log is in their run folders
    alone; elsewhere the jobs' own lines are seen, and the table comes at the end.

    Nothing of it where not `shown`, or silent. `jobs()` gives the run folder of each job that has
    begun, by what to call it.
    """

    def __init__(self, jobs: Callable[[], Mapping[str, Path]], shown: bool = True) -> None:
        self.jobs = jobs
        self.shown = shown and not silent()
        self.redrawn = self.shown and redraws(sys.stderr)
        self.console = Console(stderr=True)
        self._ended: dict[Path, Row] = {}
        self._over = False
        self.live = Live(get_renderable=self.table, console=self.console, refresh_per_second=1)

    def __enter__(self) -> Board:
        if self.redrawn:
            mute_terminal()
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        if self.live.is_started:
            self.live.stop()
            mute_terminal(False)
        elif self.shown and kind is None and self.jobs():
            self.console.print(self.table())

    def table(self) -> Table:
        """A line a job; the last ones where a terminal is too low for all."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("run", "status", "update", "dev rsum", "test rsum", "time"):
            table.add_column(heading, justify="left" if heading in ("run", "status") else "right")
        rows = [(label, *self._row(path)) for label, path in self.jobs().items()]
        room = max(3, self.console.height - 6) if self.redrawn else len(rows)
        for row in rows[-room:]:
            table.add_row(*row)
        if len(rows) > room:
            table.caption = f"{len(rows)} runs have begun; the last {room}"
        return table

    def _row(self, path: Path) -> Row:
        if path in self._ended:
            return self._ended[path]
        folder = RunFolder(path)
        try:
            status, _, results = folder.state()
            curve = folder.curve()
        except UserError:
            return "broken", "", "", "", ""
        best = results.get("dev", {}).get("rsum", max(curve.values(), default=None))
        test = results.get("test", {}).get("rsum")
        row = (
            "running" if status == "unfinished" and not self._over else status,
            str(max(curve, default="")),
            "" if best is None else f"{best:.1f}",
            "" if test is None else f"{test:.1f}",
            f"{results['seconds']:.0f} s" if "seconds" in results else "",
        )
        if status != "unfinished":
            self._ended[path] = row
        return row


def mute_terminal(muted: bool = True) -> None:
    """Whether the program's log goes to files alone."""
    for handler in logging.getLogger("vse_exp").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL + 1 if muted else logging.NOTSET)


def short_overrides(overrides: Sequence[str]) -> str:
    """`loss.margin=0.1 seed=2` as `margin=0.1 seed=2`."""
    parts = (one.partition("=") for one in overrides)
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, _, value in parts)


def label_lines(label: str) -> None:
    """Begin each line of the program's log on standard error with `[label]`."""
    for handler in logging.getLogger("vse_exp").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setFormatter(logging.Formatter(f"[{label}] %(message)s" if label else None))
