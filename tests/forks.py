"""A `python` whose programs are forked from a process that has imported what takes seconds."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import multiprocessing
import os
import runpy
import shutil
import socket
import sys
import tempfile
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
if words[:1] not in (["-m"], ["-c"]):
    os.execv({python!r}, [{python!r}, *words])
said = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(said).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(said)
    sys.exit(server.recv(1)[0])
"""


@functools.cache
def forked_python() -> str:
    """The path of a program to call as `python -m MODULE …` or `python -c CODE …`, where neither
    what is imported nor a signal matters."""
    folder = Path(tempfile.mkdtemp(prefix="forks-"))  # a socket's path must be short
    python, address = folder / "python", folder / "socket"
    python.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    python.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address))
        listening.listen()
        context = multiprocessing.get_context("forkserver")
        server = context.Process(target=_serve, args=(listening, str(python)))
        server.start()
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.terminate)
    return str(python)


def _serve(listening: socket.socket, python: str) -> None:
    while True:
        connection, _ = listening.accept()
        with connection:
            multiprocessing.active_children()  # which reaps those that have ended
            multiprocessing.get_context("fork").Process(
                target=_attend, args=(connection, python)
            ).start()


def _attend(connection: socket.socket, python: str) -> None:
    size, files, *_ = socket.recv_fds(connection, 8, 3)
    said = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    program = multiprocessing.get_context("fork").Process(
        target=_program, args=(files, python, *json.loads(said))
    )
    program.start()
    for file in files:  # else who reads the program's output waits for this process too
        os.close(file)
    program.join()
    assert program.exitcode is not None
    with contextlib.suppress(BrokenPipeError):  # who started it has been ended
        connection.sendall(bytes([program.exitcode % 256]))


def _program(
    files: list[int], python: str, words: list[str], folder: str, environment: dict[str, str]
) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    how, what, *arguments = words
    sys.argv, sys.executable = [what, *arguments], python
    added = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = ["" if how == "-c" else folder, *added, *sys.path]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<page>", "exec"), {"__name__": "__main__"})
