"""A share of a large job, made by one of several processes or machines that share a folder; the
last of them puts the shares together, and the result is that of one process to the byte."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from vse_exp.errors import UserError
from vse_exp.files import write_rows

COPIED_ROWS = 1 << 14
Put = Callable[[Path, Any], None]


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

    def write(
        self, folder: Path, files: Sequence[str], make: Callable[[range], Iterable[Any]], put: Put
    ) -> None:
        """Put what `make(blocks)` gives for the blocks of this share into `files`, one a block;
        those that are there, of an earlier run, stay."""
        share = self.share(len(files))
        start = next((n for n in share if not (folder / files[n]).is_file()), share.stop)
        missing = range(start, share.stop)
        for number, block in zip(missing, make(missing), strict=True):
            put(folder / files[number], block)

    @contextmanager
    def last(self, folder: Path, files: Sequence[str]) -> Iterator[bool]:
        """Whether all `files` are in `folder`, so that they are to be put together now, by one
        process alone; the folder goes when that has been done."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            whole = folder.is_dir() and all((folder / name).is_file() for name in files)
            yield whole
            if whole:
                shutil.rmtree(folder)
            # of those who waited meanwhile each finds its own part gone
            over = whole or (self.share(len(files)) and not folder.is_dir())
        if over:
            Path(f"{folder}.lock").unlink(missing_ok=True)


def rows_once(
    folder: Path, n_rows: int, make: Callable[[range], np.ndarray], block: int = 1 << 13
) -> np.ndarray:
    """Rows (n_rows, …) that are made once by all processes, and for all times, that share `folder`:
    each block by who comes to it first, from whose file the others have it. Where the folder
    cannot be written to or locked, a process makes its own."""
    blocks = [range(start, min(start + block, n_rows)) for start in range(0, n_rows, block)]
    found: dict[range, np.ndarray] = {}
    for wait in (False, True):  # first for what nobody is at
        for rows in blocks:
            if rows not in found and (part := _rows_once(folder, rows, make, wait)) is not None:
                found[rows] = part
    return np.concatenate([found[rows] for rows in blocks])


def _rows_once(
    folder: Path, rows: range, make: Callable[[range], np.ndarray], wait: bool
) -> np.ndarray | None:
    """A block; None where another process is at it, unless `wait`."""
    path = folder / f"{rows.start}.npy"
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(f"{path}.lock", timeout=-1 if wait else 0))
        except Timeout:
            return None
        except (OSError, NotImplementedError):
            return make(rows)
        if path.is_file():
            return np.load(path, allow_pickle=False)
        made = make(rows)
        with suppress(UserError):
            put_rows(path, made)
        return made


def stamp(path: str | Path) -> tuple[str, int, float] | None:
    """What changes when a file does; None where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return str(path), about.st_size, about.st_mtime


def put_rows(path: Path, rows: np.ndarray) -> None:
    """Write a block of rows, whole or not at all."""
    write_rows(path, rows.shape, rows.dtype, [rows])


def joined_rows(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """The rows of several `.npy`, block by block."""
    for path in paths:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        for start in range(0, len(rows), COPIED_ROWS):
            yield rows[start : start + COPIED_ROWS]


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """`shards=3` as `-m shard=0/3,1/3,2/3`, the jobs of a multirun."""
    given: list[str] = []
    for one in arguments:
        key, _, value = one.partition("=")
        if key == "shards":
            if not value.isdecimal() or not 1 <= int(value) <= 100_000:
                raise UserError(f"{one} must be a whole number, at least 1.")
            given.append("--multirun")
            one = "shard=" + ",".join(f"{number}/{value}" for number in range(int(value)))
        given.append(one)
    return given
