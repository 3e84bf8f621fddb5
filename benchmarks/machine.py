"""The machine that figures come from, and what many programs print about them."""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

COLUMNS = ("benchmark", "case", "ours", "reference", "ratio", "unit", "notes")


def describe() -> str:
    """Processor, cores, threads, load, memory and versions, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}; "
        f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def status(name: str, process: str = "self") -> float:
    """A size of a process in MB (10^6 bytes) as Linux tells it: VmRSS, VmHWM, RssAnon …"""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(name)


def print_table(rows: Iterable[Mapping[str, Any]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, title=title, title_justify="left")
    for row in rows:
        cells = [row[name] for name in COLUMNS]
        table.add_row(*(f"{cell:,.4g}" if isinstance(cell, float) else str(cell) for cell in cells))
    Console().print(table)


def write_csv(rows: Iterable[Mapping[str, Any]], path: Path, machine: str) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, "machine"])
        writer.writeheader()
        writer.writerows({**row, "machine": machine} for row in rows)
