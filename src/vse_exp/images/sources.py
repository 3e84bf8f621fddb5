"""Where pictures come from: a folder, an archive, a list of files, or a column of a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from vse_exp.errors import UserError
from vse_exp.files import read_text
from vse_exp.images.archives import ParquetPictures, TarPictures, ZipPictures
from vse_exp.images.decoding import UnreadableImage, is_picture_name, read_image_file
from vse_exp.images.tables import SUFFIXES, table_rows

IMAGE_COLUMNS = ("image", "image_name", "filename", "file_name", "img", "path", "filepath", "file")


class Pictures(Protocol):
    """Picture files by position. It travels to worker processes, so it pickles."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each picture, unique; for files the path below the folder or archive."""
        ...

    def read(self, index: int) -> bytes:
        """The content of a picture's file; UnreadableImage where it cannot be had."""
        ...


class FilePictures:
    """Files below `root` (a name may also be an absolute path)."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names

    def read(self, index: int) -> bytes:
        return read_image_file(self.root / self.names[index])


class Selection:
    """Some pictures of another source, in the order of `names`; what is not there is unreadable.

    `found`: for each name that of the picture in `source`, or None.
    """

    def __init__(self, source: Pictures, names: Sequence[str], found: Sequence[str | None]) -> None:
        where = {name: index for index, name in enumerate(source.names)}
        self.source = source
        self.names = names
        self._indices = [-1 if name is None else where[name] for name in found]

    def read(self, index: int) -> bytes:
        if self._indices[index] < 0:
            raise UnreadableImage("no such file")
        return self.source.read(self._indices[index])


class JoinedPictures:
    """The pictures of several sources, one after the other."""

    def __init__(self, sources: Sequence[Pictures]) -> None:
        self.names = [name for source in sources for name in source.names]
        self._places = [(source, i) for source in sources for i in range(len(source.names))]

    def read(self, index: int) -> bytes:
        source, place = self._places[index]
        return source.read(place)


def locate(wanted: Sequence[str], available: Sequence[str]) -> list[str | None]:
    """For each wanted name the available one: equal, or else the only one with its last part."""
    exact = set(available)
    by_last: dict[str, str | None] = {}
    for name in available:
        last = os.path.basename(name)
        by_last[last] = None if last in by_last else name
    return [name if name in exact else by_last.get(os.path.basename(name)) for name in wanted]


def open_pictures(
    images: str | os.PathLike[str] | Sequence[str],
    names: str | os.PathLike[str] | Sequence[str] | None = None,
    column: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Pictures:
    """Open pictures.

    `images`: a folder (searched in depth), a `.tar` or `.zip`, a text file with a path a line, a
    table (CSV, TSV, JSON Lines, JSON, Parquet) with paths or, in Parquet, the pictures themselves
    in `column`, a single picture, or several of these. Relative paths of a list or table start at
    `root`, else at its folder. `names`, a list or a text file with a name a line, selects from a
    folder or archive and gives the order. Raises UserError where nothing fits.
    """
    if names is not None and not isinstance(names, (str, os.PathLike)):
        wanted: Sequence[str] | None = list(names)
    else:
        wanted = read_names(names) if names is not None else None
    if not isinstance(images, (str, os.PathLike)):
        joined = JoinedPictures([open_pictures(one, None, column, root) for one in images])
        return joined if wanted is None else select(joined, wanted)
    path = Path(images)
    if os.path.isdir(path):
        if wanted is not None and all(_is_below(path, name) for name in wanted):
            return _checked(FilePictures(path, wanted), images)
        source: Pictures = FilePictures(path, find_pictures(path))
    else:
        source = _open_file(path, column, root)
    if not source.names:
        raise UserError(f"{path} holds no pictures: give a folder, archive, list or table of them.")
    return _checked(source if wanted is None else select(source, wanted), images)


def _is_below(folder: Path, name: str) -> bool:
    """Whether a file lies in `folder`; names that lead out of it are none."""
    inside = not os.path.isabs(name) and ".." not in Path(name).parts
    return inside and os.path.isfile(folder / name)


def _checked(source: Pictures, images: str | os.PathLike[str]) -> Pictures:
    """UserError for names that a list, a name a line, could not hold."""
    for name in source.names:
        check_name(name, f"images={images}")
    return source


def check_name(name: str, where: str) -> None:
    """UserError for a picture's name with a line break, or that is not UTF-8."""
    if "\n" in name or "\r" in name:
        raise UserError(f"{where}: the picture {name!r} has a line break in its name: rename it.")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: the picture {name!r} has no UTF-8 name: rename it.") from error


def select(source: Pictures, names: Sequence[str]) -> Selection:
    """The pictures `names` of a source. UserError where none of them is there."""
    found = locate(names, source.names)
    if not any(found):
        raise UserError(
            f"None of the {len(names)} listed pictures (first: {names[0]}) is there (it has "
            f"{source.names[0]} and others): correct images=… or the list."
        )
    return Selection(source, names, found)


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """The different names of a text file with a name a line, in order of first appearance."""
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(f"No file {path}: give a text file with a picture's name a line.")
    names = unique(line.strip() for line in read_text(path).split("\n"))
    if not names:
        raise UserError(f"{path} is empty: it needs a picture's name a line.")
    return names


def find_pictures(folder: Path) -> list[str]:
    """Paths below `folder` of all files named like pictures, sorted; hidden ones are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(place).relative_to(folder)
        found += [(below / name).as_posix() for name in files if is_picture_name(name)]
    if not found:
        raise UserError(f"No pictures in the folder {folder}: it needs .jpg, .png or other files.")
    return sorted(found)


def unique(names: Iterable[str]) -> list[str]:
    """The different non-empty names, in order of first appearance."""
    return [name for name in dict.fromkeys(names) if name]


def _open_file(path: Path, column: str | None, root: str | os.PathLike[str] | None) -> Pictures:
    if not os.path.isfile(path):
        raise UserError(f"No file or folder {path}: correct images=….")
    suffixes = "".join(path.suffixes[-2:]).lower()
    if path.suffix.lower() == ".tar":
        return TarPictures(path)
    if suffixes.startswith(".tar.") or path.suffix.lower() in (".tgz", ".tbz2", ".txz"):
        raise UserError(
            f"{path} is compressed, and its pictures cannot be read one by one: unpack it "
            "(gunzip, unxz) or give the folder."
        )
    if path.suffix.lower() == ".zip":
        return ZipPictures(path)
    base = Path(root) if root is not None else path.parent
    if path.suffix.lower() in SUFFIXES:
        return _open_table(path, column, base)
    if is_picture_name(path.name):
        return FilePictures(path.parent, [path.name])
    return FilePictures(base, read_names(path))


def _open_table(path: Path, column: str | None, base: Path) -> Pictures:
    if path.suffix.lower() == ".parquet":
        inside = ParquetPictures.find(path, column)
        if inside is not None:
            return inside
    names: list[str] = []
    for number, row in table_rows(path):
        column = column or guess_column(row, IMAGE_COLUMNS)
        if column is None or column not in row:
            known = ", ".join(row)
            raise UserError(
                f"{path} row {number} has no column {column or 'image'!r} (it has {known}): "
                "name the pictures' column with column=…."
            )
        names.append(str(row[column] or "").strip())
    return FilePictures(base, unique(names))


def guess_column(row: dict[str, Any], candidates: Sequence[str]) -> str | None:
    """The first of `candidates` among a row's columns, whatever its case."""
    lower = {name.lower(): name for name in row}
    return next((lower[name] for name in candidates if name in lower), None)
