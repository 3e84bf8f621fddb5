"""Files whole or not at all: reading text with a limit, and writing so that a reader never meets
half of a file or folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from vse_exp.errors import UserError

MAX_TEXT = 4 << 30
"""Text files of more bytes are refused."""
MAX_RECORD = 64 << 20
"""JSON records that the program wrote itself are smaller by far."""


def read_text(path: str | os.PathLike[str], limit: int = MAX_TEXT) -> str:
    """The UTF-8 text of a file, without a byte order mark.

    UserError where it cannot be read, has more than `limit` bytes, or, with the line, is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
            while len(content) <= limit and (more := file.read(1 << 20)):  # pipes have no size
                content += more
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    if len(content) > limit:
        raise UserError(f"{path} has more than {limit:,} bytes: is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path} line {line} is not UTF-8: save the file as UTF-8.") from error


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Stripped lines of a text file. UserError as `read_text`, and for an empty line or file."""
    lines = [line.strip() for line in read_text(path).split("\n")]
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise UserError(f"{path} is empty: it needs a caption or name a line.")
    if not all(lines):
        raise UserError(
            f"{path} line {lines.index('') + 1} is empty: every line must hold one caption or name."
        )
    return lines


def read_json(path: str | os.PathLike[str], limit: int = MAX_TEXT) -> Any:
    """The content of a JSON file. UserError as `read_text`, and where it is broken."""
    return parse_json(read_text(path, limit), path)


def parse_json(text: str, path: str | os.PathLike[str], line: int = 1) -> Any:
    """The content of JSON that begins at a line of `path`. UserError where it is broken."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path} line {line + error.lineno - 1}"
        raise UserError(f"{place} is broken JSON ({error.msg}): is the file complete?") from error
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits, 5,000 brackets
        raise UserError(f"{path} line {line} is no JSON that can be read ({error}).") from error


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; on success it is synced and renamed onto `path`.

    On failure the temporary file is removed and whatever stood at `path` is untouched. Of a link
    the file it leads to is replaced; into a device or pipe the content is copied at the end.
    Raises UserError where the folder cannot be written to or the disk is full.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    special = _is_special(path)
    try:
        if not special:
            target.parent.mkdir(parents=True, exist_ok=True)
        # keeps the suffix: numpy and torch choose formats by it
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=None if special else target.parent
        )
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if special:
            with open(temporary, "rb") as written, open(path, "wb") as device:
                shutil.copyfileobj(written, device)
            return
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; results follow the user's umask like any other file
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    """Whether a path is a device, pipe or socket, or an open file of a process (/dev/stdout)."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISREG(mode):
        return path.is_absolute() and path.parts[1:2] in (("dev",), ("proc",))
    return not stat.S_ISDIR(mode)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically."""
    write_texts({Path(path): text})


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write several text files by path: all of them, or (on a full disk) none."""
    with ExitStack() as whole:
        for path, text in texts.items():
            temporary = whole.enter_context(atomic_path(path))
            with open(temporary, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_rows(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    dtype: np.dtype,
    blocks: Iterable[np.ndarray],
) -> None:
    """Write a `.npy` file of `shape` as its rows come, atomically.

    Through a handle: a full disk is an error there, and a crash in a memory map.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        write_header(file, shape, dtype)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Begin a `.npy` file."""
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def as_lines(lines: Iterable[str]) -> str:
    """The text of a file with these lines."""
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def new_folder(
    path: str | os.PathLike[str], overwrite: bool = False, *, mark: str
) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `path` on success.

    A folder that stands there is only replaced if `overwrite`, and if it holds the file `mark`, by
    which it is known to be one of ours. UserError otherwise, and where it cannot be written.
    """
    path = Path(os.path.realpath(path))
    if os.path.exists(path) and not (overwrite and os.path.isfile(path / mark)):
        reason = f"is not one of this program's ({mark} is missing)" if overwrite else "exists"
        advice = "give another folder" + ("" if overwrite else ", or overwrite=true")
        raise UserError(f"The output {path} {reason}: {advice}.")
    token = secrets.token_hex(4)
    unfinished = path.with_name(f".{path.name}.{token}")
    old = path.with_name(f".{path.name}.{token}.old")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if os.path.exists(path):
            path.rename(old)
        unfinished.rename(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
