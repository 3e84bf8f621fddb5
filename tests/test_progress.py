"""Progress where standard error is no terminal: lines, seldom; and nothing unasked."""

from __future__ import annotations

import io
import sys
import time

from vse_exp import progress as module
from vse_exp.progress import alive, progress, redraws, rest, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_say_what_is_done_and_left(capsys, monkeypatch):
    monkeypatch.setattr(module, "LINE_SECONDS", 0)
    with progress("photos", "images") as update:
        for done in (20, 30, 40):
            update(done, 40)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "photos: 20 of 40 images were done before"
    assert second.startswith("photos: 30 of 40 images, ")
    assert third.endswith(" 0 s left")


def test_a_cell_of_a_notebook_is_no_terminal(monkeypatch):
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert redraws(Terminal())
    assert not redraws(io.StringIO())
    monkeypatch.setenv("JPY_PARENT_PID", "1")  # set for all that a kernel starts
    assert not redraws(Terminal())


def test_short_work_says_nothing(capsys):
    assert list(track(range(5), "counting")) == [0, 1, 2, 3, 4]
    assert list(track([3], "counting", shown=False)) == [3]
    assert capsys.readouterr() == ("", "")


def until(terminal: Terminal, seen: str) -> str:
    """What is on the terminal once `seen` is."""
    end = time.monotonic() + 30
    while seen not in terminal.getvalue():
        assert time.monotonic() < end, terminal.getvalue()
        time.sleep(0.01)
    return terminal.getvalue()


def test_a_terminal_is_never_silent_for_long(monkeypatch):
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.1)
    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", file)
    with alive("train"), alive("within"):  # one sign of life is enough
        assert sys.stdout is file
        shown = until(terminal, "train: 0 s\x1b[m\x1b[K")
        print("a word", file=sys.stderr)
        assert terminal.getvalue().startswith(shown)
        assert "\x1b[K\r\x1b[Ka word\n" in terminal.getvalue()  # in its place
        until(terminal, "a word\n\r\x1b[2mtrain")
        with rest():
            before = terminal.getvalue()
            time.sleep(0.6)
            assert terminal.getvalue() == before
    assert sys.stderr is terminal
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert "within" not in terminal.getvalue()


def test_what_is_no_terminal_gets_no_sign_of_life(capsys, monkeypatch):
    monkeypatch.setattr(module, "SILENT_SECONDS", 0)
    with alive("train"):
        time.sleep(0.3)
    assert capsys.readouterr() == ("", "")
