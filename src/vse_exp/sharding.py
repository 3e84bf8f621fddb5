"""A share of a large job, made by one of several processes or machines that share a folder; the
last of them puts the shares together, and the result is that of one process to the byte."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from vse_exp.errors import UserError

COPIED_ROWS = 1 << 14


@dataclass(frozen=True)
class Shard:
    """The share `number`, from 0, of `count`."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str | None) -> Shard | None:
        """That of `i/n`; None of None. UserError where there is no such share."""
        if text is None:
            return None
        number, count = map(int, text.split("/"))
        if number >= count:
            raise UserError(
                f"shard={text}: shares count from 0, so the last is {count - 1}/{count}."
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def share(self, n_blocks: int) -> range:
        """The blocks of it, side by side; maybe none."""
        start, end = (n_blocks * (self.number + each) // self.count for each in (0, 1))
        return range(start, end)

    def folder(self, output: Path, job: Any) -> Path:
        """Where the shares of a job lie until all are there; another job has another folder."""
        told = hashlib.sha256(json.dumps(job, sort_keys=True, default=str).encode()).hexdigest()
        return output.with_name(f".{output.name}.{self.count}-shards-{told[:8]}")

    @contextmanager
    def last(self, folder: Path, endings: Sequence[str]) -> Iterator[bool]:
        """Whether all files `{number}{ending}` are in `folder`, so that they are to be put together
        now, by one process alone; the folder goes when that has been done."""
        with FileLock(f"{folder}.lock"):
            names = [f"{number}{ending}" for number in range(self.count) for ending in endings]
            whole = folder.is_dir() and all((folder / name).is_file() for name in names)
            yield whole
            if whole:
                shutil.rmtree(folder)
        if whole:
            Path(f"{folder}.lock").unlink(missing_ok=True)


def joined_rows(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The rows of several `.npy`, block by block."""
    for path in paths:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        for start in range(0, len(rows), COPIED_ROWS):
            yield rows[start : start + COPIED_ROWS]


def spelled_out(argument: str) -> str:
    """`shards=3` as `shard=0/3,1/3,2/3`, the jobs of a multirun."""
    key, _, value = argument.partition("=")
    if key != "shards":
        return argument
    if not value.isdecimal() or not 1 <= int(value) <= 100_000:
        raise UserError(f"{argument} must be a whole number, at least 1.")
    return "shard=" + ",".join(f"{number}/{value}" for number in range(int(value)))
