"""The sign of life: on a terminal, in a file, and where it rests."""

from __future__ import annotations

import io
import sys
import time

from vse_exp import alive as module
from vse_exp.alive import alive, doing, line_due, redraws, rest


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_cell_of_a_notebook_is_no_terminal(monkeypatch):
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert redraws(Terminal())
    assert not redraws(io.StringIO())
    monkeypatch.setenv("JPY_PARENT_PID", "1")  # set for all that a kernel starts
    assert not redraws(Terminal())


def test_lines_come_soon_and_then_seldom(monkeypatch):
    told, lines = 100.0, []
    for now in range(100, 220):
        monkeypatch.setattr(time, "monotonic", lambda now=now: float(now))
        if line_due(100.0, told):
            told = float(now)
            lines.append(now - 100)
    assert lines == [2, 4, 8, 16, 32, 62, 92]


def until(terminal: io.StringIO, seen: str) -> str:
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


def test_a_file_gets_a_line_where_something_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.1)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "slowly.py").write_text("import time; time.sleep(1)")
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with alive("train"):  # somebody reads what is told there
        time.sleep(0.6)
    assert file.getvalue() == ""
    monkeypatch.setattr(sys, "__stderr__", file)
    with alive("train", quiet=True):
        time.sleep(0.6)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with alive("train"):
        time.sleep(0.6)
    assert file.getvalue() == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    with alive("train"):
        until(file, "train: loading …\n")
        import slowly  # type: ignore  # noqa: F401

        doing("reading")
        until(file, "train: reading …\n")
        print("a word", file=sys.stderr)
        with rest():
            time.sleep(0.6)
    assert sys.stderr is file
    stages = ["loading", "loading slowly", "reading"]
    assert file.getvalue().splitlines() == [*(f"train: {one} …" for one in stages), "a word"]
