"""Progress on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO, TypeVar

LINE_SECONDS = 30.0
"""Time between lines where the output is no terminal."""
SILENT_SECONDS = 1.5
"""Time without a word after which a terminal shows that the command is alive."""

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


def redraws(stream: TextIO) -> bool:
    """Whether what is written there can be drawn over: on a terminal, which a notebook's cell only
    says that it is."""
    return stream.isatty() and "JPY_PARENT_PID" not in os.environ


def spoken(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
        elif now - self.told >= LINE_SECONDS:
            self.told = now
            speed = (done - self.first[1]) / (now - self.first[0])
            left = (total - done) / max(speed, 1e-9)
            self._tell(
                f"{done} of {total} {self.unit}, {speed:.1f} {self.unit}/s, {left:.0f} s left"
            )

    def _tell(self, text: str) -> None:
        self.console.print(f"{self.task}: {text}", highlight=False, soft_wrap=True)


_pulse: _Pulse | None = None


@contextmanager
def alive(task: str) -> Iterator[None]:
    """On a terminal `task` and its seconds stand in the last line whenever nothing has been told
    for SILENT_SECONDS: while libraries load, data are read, and so on."""
    global _pulse
    if not redraws(sys.stderr) or _pulse is not None:
        yield
        return
    _pulse = _Pulse(task, sys.stderr)
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Heard(one, _pulse) if one.isatty() else one for one in streams)
    _pulse.start()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        _pulse.stop()
        _pulse = None


@contextmanager
def rest() -> Iterator[None]:
    """No sign of life while what is inside runs, since it waits for people, or is to be silent."""
    pulse = _pulse
    if pulse is not None:
        pulse.resting = True
        pulse.heard()
    try:
        yield
    finally:
        if pulse is not None:
            pulse.resting = False


class _Pulse(threading.Thread):
    """What `alive` shows. A bar draws itself ten times a second, so that the two never meet."""

    def __init__(self, task: str, stream: TextIO) -> None:
        super().__init__(daemon=True)
        self.task = task
        self.stream = stream
        self.resting = self.drawn = False
        self.began = self.told = time.monotonic()
        self.over = threading.Event()
        self.lock = threading.RLock()
        self.process = os.getpid()

    def run(self) -> None:
        while not self.over.wait(0.25):
            with self.lock:
                now = time.monotonic()
                if now - self.told >= SILENT_SECONDS and not self.resting:
                    self.drawn = True
                    self._write(f"\r\x1b[2m{self.task}: {spoken(now - self.began)}\x1b[m\x1b[K")

    def heard(self) -> None:
        """Give the line to what is told now."""
        if os.getpid() != self.process:  # a fork has the lock as it was, and no thread
            return
        with self.lock:
            self.told = time.monotonic()
            if self.drawn:
                self.drawn = False
                self._write("\r\x1b[K")

    def stop(self) -> None:
        self.over.set()
        self.join()
        self.heard()

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class _Heard:
    """A stream whose writing the pulse hears of."""

    def __init__(self, stream: TextIO, pulse: _Pulse) -> None:
        self._stream = stream
        self._pulse = pulse

    def write(self, text: str) -> int:
        self._pulse.heard()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
