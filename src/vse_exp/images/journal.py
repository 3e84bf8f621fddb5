"""An extraction that has not ended: its rows so far, and a journal of the blocks that are done.

The rows lie at their final places in a `.npy`; a line of the journal says that a block is whole,
with a checksum of its rows. So a process may be killed at any moment, and what a power cut tore
apart is noticed and made again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import write_header, write_json, write_rows, write_text

Skipped = list[tuple[int, str]]
"""Positions of pictures without a row, and the reasons."""

_COPY_ROWS = 4096


class Journal:
    """The rows of `n_rows` pictures of `row_shape`, filled in blocks of `block` pictures.

    `job` says what is made; a folder that holds another job is refused.
    """

    def __init__(
        self,
        folder: Path,
        job: Mapping[str, Any],
        n_rows: int,
        row_shape: tuple[int, ...],
        dtype: np.dtype,
        block: int,
    ) -> None:
        self.folder = folder
        self.n_rows = n_rows
        self.block = block
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            try:
                self._open(job, (n_rows, *row_shape), dtype)
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise UserError(f"Cannot write {folder}: {error.strerror or error}.") from error

    def _open(self, job: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype) -> None:
        if not (self.folder / "job.json").is_file():
            with open(self._rows_path, "wb") as file:
                write_header(file, shape, dtype)
                # a file with holes: it takes room as it is filled
                file.truncate(file.tell() + dtype.itemsize * math.prod(shape))
            write_json(self.folder / "job.json", dict(job))
        self._check_same(job)
        self.rows: np.memmap = np.lib.format.open_memmap(self._rows_path, "r")
        self.done: dict[int, Skipped] = self._read()
        write_text(self._journal_path, "".join(map(self._line, self.done)))
        # written through a handle: a full disk is an error there, and a crash in a map
        self._data: IO[bytes] = open(self._rows_path, "r+b")  # noqa: SIM115 (held open)
        self._lines: IO[str] = open(self._journal_path, "a", encoding="utf-8")  # noqa: SIM115 (held open)

    @property
    def _rows_path(self) -> Path:
        return self.folder / "rows.npy"

    @property
    def _journal_path(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def _blocks(self) -> range:
        return range((self.n_rows + self.block - 1) // self.block)

    @property
    def open_blocks(self) -> list[int]:
        """The blocks that are still to be made, in order."""
        return [number for number in self._blocks if number not in self.done]

    @property
    def n_done(self) -> int:
        """Pictures in the blocks that are done."""
        short = len(self._blocks) * self.block - self.n_rows if self._blocks[-1] in self.done else 0
        return len(self.done) * self.block - short

    @property
    def skipped(self) -> Skipped:
        """What is left out in all blocks done, in order."""
        return [entry for _, entries in sorted(self.done.items()) for entry in entries]

    def add(self, block: int, rows: np.ndarray, skipped: Skipped) -> None:
        """Store the rows of all pictures of a block (any value where left out, see `skipped`)."""
        try:
            row_bytes = self.rows.nbytes // self.n_rows
            self._data.seek(self.rows.offset + block * self.block * row_bytes)
            self._data.write(np.ascontiguousarray(rows, dtype=self.rows.dtype).tobytes())
            self._data.flush()
            self.done[block] = skipped
            self._lines.write(self._line(block))
            self._lines.flush()
        except OSError as error:
            raise UserError(f"Cannot write {self.folder}: {error.strerror or error}.") from error

    def finish(self, output: Path) -> int:
        """Put the rows, without those left out, at `output`; their number is returned."""
        left_out = {index for index, _ in self.skipped}
        if not left_out:
            os.fsync(self._data.fileno())
            os.replace(self._rows_path, output)
            return self.n_rows
        kept = np.array([index for index in range(self.n_rows) if index not in left_out], int)
        parts = range(0, len(kept), _COPY_ROWS)
        rows = (self.rows[kept[start : start + _COPY_ROWS]] for start in parts)
        write_rows(output, (len(kept), *self.rows.shape[1:]), self.rows.dtype, rows)
        return len(kept)

    def close(self, remove: bool = False) -> None:
        """Let go of the files; with `remove` the folder goes too."""
        self._lines.close()
        self._data.close()
        del self.rows
        if remove:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    def _line(self, block: int) -> str:
        entry = {"block": block, "crc": self._checksum(block), "skipped": self.done[block]}
        return json.dumps(entry) + "\n"

    def _checksum(self, block: int) -> int:
        rows = self.rows[block * self.block : (block + 1) * self.block]
        return zlib.crc32(rows.tobytes())

    def _read(self) -> dict[int, Skipped]:
        """The blocks of which line and rows are whole."""
        done: dict[int, Skipped] = {}
        if not self._journal_path.is_file():
            return done
        text = self._journal_path.read_text(encoding="utf-8", errors="replace")
        for line in text.split("\n"):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                number = self._blocks.index(entry["block"])
                if entry["crc"] == self._checksum(number):
                    done[number] = [(index, reason) for index, reason in entry["skipped"]]
        return done

    def _check_same(self, job: Mapping[str, Any]) -> None:
        before = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        different = different_keys(before, job)
        if different:
            raise UserError(
                f"{self.folder} holds an unfinished extraction with other {', '.join(different)}: "
                "give the same again to go on, or restart=true to throw it away."
            )


def different_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys in which two jobs differ."""
    keys = sorted(before.keys() | now.keys())
    return [key for key in keys if before.get(key) != now.get(key)]


def _lock(folder: Path) -> IO[str]:
    """Hold `folder` for this process until it ends, however it does."""
    file = open(folder / "lock", "w", encoding="utf-8")  # noqa: SIM115 (held open)
    with contextlib.suppress(ImportError):  # not on Windows
        import fcntl

        try:
            # a lock of the process: workers that outlive a killed one for seconds do not hold it
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.close()
            raise UserError(
                f"Another process is extracting to {folder}: wait for it, or end it."
            ) from error
    return file
