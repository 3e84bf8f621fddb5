"""Python programs in processes forked from one that has imported what takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

PRELOADED = ["forks_preloaded"]


def run_python(
    words: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> CompletedProcess[str]:
    """What `python WORDS` does in a folder, where the words begin with `-m MODULE` or `-c CODE`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # of the first who asks
    output = folder / ".output"
    process = context.Process(
        target=_program, args=(list(words), folder, dict(environment), output)
    )
    process.start()
    process.join()
    assert process.exitcode is not None
    told = output.read_text(encoding="utf-8")
    output.unlink()
    return CompletedProcess(["python", *words], process.exitcode, told)


def _program(words: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
    with output.open("wb") as opened:
        os.dup2(opened.fileno(), 1)
        os.dup2(opened.fileno(), 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    how, what, *arguments = words
    sys.argv = [what, *arguments]
    added = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = ["" if how == "-c" else str(folder), *added, *sys.path]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<page>", "exec"), {"__name__": "__main__"})
