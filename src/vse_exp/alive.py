"""A sign of life on standard error where a command tells nothing else: seconds in a terminal's last
line, elsewhere a line now and then."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

LINE_SECONDS = 30.0
"""Time between lines where the output is no terminal; the first ones come sooner."""
SILENT_SECONDS = 1.0
"""Time without a word after which a command shows that it is alive."""


def redraws(stream: TextIO) -> bool:
    """Whether what is written there can be drawn over: on a terminal, which a notebook's cell only
    says that it is."""
    return stream.isatty() and "JPY_PARENT_PID" not in os.environ


def line_due(began: float, told: float) -> bool:
    """Whether work that goes on since `began` is worth a line after that of `told`: after 2, 4, 8 …
    seconds, then every LINE_SECONDS."""
    now = time.monotonic()
    return now - told >= min(LINE_SECONDS, max(2.0, told - began))


def spoken(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


_pulse: _Pulse | None = None


@contextmanager
def alive(task: str, quiet: bool = False) -> Iterator[None]:
    """Show that `task` goes on whenever nothing has been told for SILENT_SECONDS, while libraries
    load, data are read, and so on: its seconds in a terminal's last line, elsewhere a line where
    something else than before has begun. Whoever has put another stream in the place of standard
    error gets only what is told; and so do processes beside the first, and those to be `quiet`."""
    global _pulse
    terminal = redraws(sys.stderr)
    own = sys.stderr is sys.__stderr__ and not quiet
    first = all(os.environ.get(rank, "0") == "0" for rank in ("LOCAL_RANK", "SLURM_PROCID"))
    if _pulse is not None or not (terminal or (own and first)):
        yield
        return
    _pulse = (_Pulse if terminal else _Lifeline)(task, sys.stderr)
    streams = sys.stdout, sys.stderr
    if sys.stdout.isatty():
        sys.stdout = _Heard(sys.stdout, _pulse)
    sys.stderr = _Heard(sys.stderr, _pulse)
    _pulse.start()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        _pulse.stop()
        _pulse = None


def doing(what: str) -> None:
    """What the command does from here on, for its sign of life."""
    if _pulse is not None:
        _pulse.doing = what


@contextmanager
def rest() -> Iterator[None]:
    """No sign of life while what is inside runs, since it waits for people, tells all by itself, or
    is to be silent."""
    pulse = _pulse
    if pulse is None:
        yield
        return
    before, pulse.resting = pulse.resting, True
    pulse.heard()
    try:
        yield
    finally:
        pulse.resting = before
        pulse.heard()


class _Pulse(threading.Thread):
    """What `alive` shows. A bar draws itself ten times a second, so that the two never meet."""

    def __init__(self, task: str, stream: TextIO) -> None:
        super().__init__(daemon=True)
        self.task = task
        self.stream = stream
        self.doing = ""
        self.resting = self.drawn = False
        self.began = self.told = time.monotonic()
        self.over = threading.Event()
        self.lock = threading.RLock()
        self.process = os.getpid()
        self.main = threading.get_ident()

    def run(self) -> None:
        while not self.over.wait(0.25):
            with self.lock:
                if time.monotonic() - self.told >= SILENT_SECONDS and not self.resting:
                    self.show()

    def show(self) -> None:
        self.drawn = True
        seconds = spoken(time.monotonic() - self.began)
        self._write(f"\r\x1b[2m{self.task}: {seconds}\x1b[m\x1b[K")

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


class _Lifeline(_Pulse):
    """The same where nothing can be drawn over; what goes on for long is told more seldom."""

    said: str | None = None
    since = 0.0

    def show(self) -> None:
        now, stage = time.monotonic(), self._stage()
        if stage == self.said:
            if not line_due(self.since, self.told):
                return
            self._write(f"{self.task}: {stage}, {spoken(now - self.since)} …\n")
        else:
            self.said, self.since = stage, now
            self._write(f"{self.task}: {stage} …\n")
        self.told = now

    def _stage(self) -> str:
        """The outermost library that is being loaded, else what the command says that it does."""
        frame, loads = sys._current_frames().get(self.main), ""
        while frame is not None:
            if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
                name = str(frame.f_locals.get("name", "")).partition(".")[0]
                if name not in sys.stdlib_module_names and name != "vse_exp":
                    loads = name or loads
            frame = frame.f_back
        return f"loading {loads}" if loads else self.doing or "loading"


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
