"""Progress on a terminal as a bar, elsewhere as a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_SECONDS = 30.0
"""Time between lines where the output is no terminal."""


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} images/s")


@contextmanager
def image_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yield `update(done, total)`, which shows images a second and the time left.

    What the first call says was done before does not count for the speed.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(name, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(name, total=None)

        def update(done: int, total: int) -> None:
            if progress.tasks[0].total is None:
                progress.reset(task, total=total, completed=done)
            else:
                progress.update(task, completed=done)

        yield update


class _Lines:
    def __init__(self, name: str, console: Console) -> None:
        self.name = name
        self.console = console
        self.first: tuple[float, int] | None = None
        self.told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = (now, done)
            if done:
                self._tell(f"{done} of {total} images were done before")
        elif now - self.told >= LINE_SECONDS:
            self.told = now
            speed = (done - self.first[1]) / (now - self.first[0])
            left = (total - done) / max(speed, 1e-9)
            self._tell(f"{done} of {total} images, {speed:.1f} images/s, {left:.0f} s left")

    def _tell(self, text: str) -> None:
        self.console.print(f"{self.name}: {text}", highlight=False, soft_wrap=True)
