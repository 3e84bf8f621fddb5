"""Progress on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, TypeVar

from vse_exp.alive import line_due, redraws, rest

Step = TypeVar("Step")
_silent = ContextVar("silent", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """No output to standard output and no progress while what is inside runs."""
    before = _silent.set(True)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), rest():
            yield
    finally:
        _silent.reset(before)


def silent() -> bool:
    """Whether `silence` holds here."""
    return _silent.get()


def track(steps: Sequence[Step], task: str, shown: bool = True) -> Iterator[Step]:
    """The steps one by one, with progress where `shown`."""
    if not shown or _silent.get():
        yield from steps
        return
    with progress(task, "steps") as update:
        for number, step in enumerate(steps):
            update(number, len(steps))
            yield step
        update(len(steps), len(steps))


@contextmanager
def progress(task: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield `update(done, total)`, which shows units a second and the time left.

    What the first call says was done before does not count for the speed.
    """
    if _silent.get():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    console = Console(stderr=True)
    if not redraws(sys.stderr):
        with rest():
            yield _Lines(task, unit, console)
        return
    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), speed)
    with Progress(*columns, TimeLeft(), console=console) as bar:
        number = bar.add_task(task, total=None, speed="")

        def update(done: int, total: int) -> None:
            if bar.tasks[0].total is None:
                bar.reset(number, total=total, completed=done)
                return
            per_second = bar.tasks[0].finished_speed or bar.tasks[0].speed
            speed = f"{per_second:,.1f} {unit}/s" if per_second else ""
            bar.update(number, completed=done, speed=speed)

        yield update


class _Lines:
    def __init__(self, task: str, unit: str, console: Any) -> None:
        self.task = task
        self.unit = unit
        self.console = console
        self.first: tuple[float, int] | None = None
        self.told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = (now, done)
            if done:
                self._tell(f"{done} of {total} {self.unit} were done before")
        elif line_due(self.first[0], self.told):
            self.told = now
            speed = (done - self.first[1]) / (now - self.first[0])
            left = (total - done) / max(speed, 1e-9)
            self._tell(
                f"{done} of {total} {self.unit}, {speed:.1f} {self.unit}/s, {left:.0f} s left"
            )

    def _tell(self, text: str) -> None:
        self.console.print(f"{self.task}: {text}", highlight=False, soft_wrap=True)
