"""Pictures inside files: tar and zip archives, and Parquet tables. Nothing is unpacked to disk."""

from __future__ import annotations

import os
import posixpath
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from vse_exp.errors import UserError
from vse_exp.images.decoding import UnreadableImage, check_size, is_picture_name
from vse_exp.images.tables import open_parquet


class TarPictures:
    """Regular files named like pictures in an uncompressed tar, in its order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        places: dict[str, tuple[int, int]] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isreg() and not member.issparse() and is_picture_name(member.name):
                        # of two members with one name the later counts, as when unpacking
                        places[_name(member.name)] = (member.offset_data, member.size)
        except Exception as error:  # headers of damaged archives say anything
            raise UserError(f"{path} is no complete tar archive ({error}).") from error
        self.names = list(places)
        self._places = list(places.values())

    def read(self, index: int) -> bytes:
        offset, size = self._places[index]
        check_size(size)
        try:
            with open(self.path, "rb") as archive:
                archive.seek(offset)
                content = archive.read(size)
        except (OSError, ValueError, OverflowError) as error:
            raise UnreadableImage(f"damaged in the archive: {error}") from error
        if len(content) < size:
            raise UnreadableImage("the archive ends inside this file")
        return content


class _OpenedPerProcess:
    """Holds `path` open, anew in each process: a handle shared over a fork shares its position."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, Any] | None = None

    def _open(self) -> Any:
        raise NotImplementedError

    @property
    def handle(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self._open())
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class ZipPictures(_OpenedPerProcess):
    """Files named like pictures in a zip, in its order."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with zipfile.ZipFile(path) as archive:
                members = [info for info in archive.infolist() if is_picture_name(info.filename)]
        except Exception as error:  # directories of damaged archives say anything
            raise UserError(f"{path} is no complete zip archive ({error}).") from error
        self._members = list({_name(info.filename): info for info in members}.values())
        self.names = list(dict.fromkeys(_name(info.filename) for info in members))

    def _open(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    def read(self, index: int) -> bytes:
        member = self._members[index]
        check_size(member.file_size)  # what it says that it unpacks to
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableImage("compressed otherwise than by deflate: pack it again")
        try:
            with self.handle.open(member) as file:
                # by size, which bounds what is unpacked at once; the end checks the sum
                return file.read(member.file_size) + file.read(1)
        except Exception as error:  # zlib's and zipfile's own, of damaged or encrypted members
            raise UnreadableImage(f"damaged in the archive: {error}") from error


class ParquetPictures(_OpenedPerProcess):
    """The pictures in a binary column of a Parquet table, or in one of structs {bytes, path}."""

    def __init__(self, path: Path, column: str, names: list[str], groups: list[int]) -> None:
        super().__init__(path)
        self.column = column
        self.names = names
        self._starts = groups
        self._group: tuple[int, list[bytes | None]] = (-1, [])

    @classmethod
    def find(cls, path: Path, column: str | None) -> ParquetPictures | None:
        """Open the column `column`, or the first that holds pictures; None where there is none."""
        file = open_parquet(path)
        schema = file.schema_arrow
        held = {
            field.name: kind for field in schema if (kind := picture_kind(field.type)) is not None
        }
        column = column or next(iter(held), None)
        if column is None or column not in held:
            return None
        rows: list[str | None] = [None] * file.metadata.num_rows
        if "path" in held[column]:
            cells = file.read(columns=[f"{column}.path"])[column].to_pylist()
            rows = [cell and cell["path"] for cell in cells]
        # a name a row, also where two rows name one file
        seen: set[str] = set()
        names = []
        for number, name in enumerate(rows):
            given = str(name) if name else f"row-{number:09d}"
            names.append(given if given not in seen else f"row-{number:09d}-{given}")
            seen.add(names[-1])
        counts = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        starts = [sum(counts[:group]) for group in range(len(counts))]
        return cls(path, f"{column}.bytes" if held[column] else column, names, starts)

    def _open(self) -> Any:
        return open_parquet(self.path)

    def read(self, index: int) -> bytes:
        group = max(g for g, start in enumerate(self._starts) if start <= index)
        if self._group[0] != group:
            top, _, inner = self.column.partition(".")
            cells = self.handle.read_row_group(group, columns=[self.column], use_threads=False)[
                top
            ].to_pylist()
            self._group = (group, [cell and cell[inner] for cell in cells] if inner else cells)
        content = self._group[1][index - self._starts[group]]
        if content is None:
            raise UnreadableImage("an empty cell")
        check_size(len(content))
        return content


def picture_kind(kind: Any) -> tuple[str, ...] | None:
    """The fields of a struct that holds pictures, () for plain bytes, None for other columns."""
    import pyarrow

    if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
        return ()
    if pyarrow.types.is_struct(kind):
        fields = tuple(child.name for child in kind)
        return fields if "bytes" in fields else None
    return None


def _name(member: str) -> str:
    return posixpath.normpath(member)
