"""All programs in turn: one table, and a CSV that names the machine.

python -m benchmarks                        # on a quiet machine: about an hour
python -m benchmarks --threads 1            # CPU time of one thread, where others work too
python -m benchmarks --only encoders loop
python -m benchmarks --quick                # a smoke test; its figures mean nothing
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe, print_table, write_csv

PROGRAMS = {
    "encoders": "--captions 30000",
    "loop": "",
    "embed": "",
    "evaluation": "",
    "search": "",
    "startup": "",
    "data": "",
    "growth": "",
    "communication": "",
}
"""Each program and its arguments."""
QUICK = {
    "encoders": "--encoder bow --dim-image 64 --steps 2 --captions 500",
    "loop": "--encoder bow --optimizer adamw --dim 32 --dim-image 16 --captions 2000 --steps 3",
    "embed": "--encoder bow --captions 300 --dim 32",
    "evaluation": "--sizes 100 --dim 32",
    "search": "--items 2000 --queries 1 16 --repeats 1",
    "startup": "--case encode --repeats 1",
    "data": "--sizes quick --batches 3 --workers 0",
    "growth": "--quick",
    "communication": "--processes 2 --dim 32",
}
WITH_THREADS = ("encoders", "loop", "evaluation", "data", "embed")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", nargs="+", default=list(PROGRAMS), choices=list(PROGRAMS))
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--csv", type=Path, default=Path("benchmarks.csv"))
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    machine = describe()
    print(machine)
    rows: list[dict[str, Any]] = []
    for name in options.only:
        print(f"\n{name}", flush=True)
        arguments = (QUICK if options.quick else PROGRAMS)[name].split()
        if name in WITH_THREADS:
            arguments += ["--threads", str(options.threads)]
        program: Callable[[list[str]], list[dict[str, Any]]] = import_module(
            f"benchmarks.{name}"
        ).main
        rows += program(arguments)
        write_csv(rows, options.csv, machine)  # after each, so that an interruption leaves some
    print()
    print_table(rows, machine)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
