"""Data sets of Hugging Face's hub, of Parquet files with the pictures inside."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

from vse_exp.data.annotations.records import Reading
from vse_exp.data.annotations.tables import read_table
from vse_exp.data.places import HUB, filesystem, hub_splits
from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.images.archives import ParquetPictures
from vse_exp.images.sources import guess_column
from vse_exp.images.tables import Row, table_rows

NAME = "image.name"
"""The column that stands for the picture in the rows of its table."""
NAMES = ("filename", "file_name")


def is_hub(source: object) -> bool:
    """Whether a source is `hub:NAME` (or `hub:FOLDER`, a folder like a data set there)."""
    return str(source).startswith(HUB)


def hub_files(source: str) -> list[tuple[str, str | None]]:
    """The files of all splits, each with its split; None: it is drawn, or told by a column.

    UserError where the data set cannot be had."""
    splits = hub_splits(source.removeprefix(HUB))
    return [
        (place, split if len(splits) > 1 else None)
        for split, places in splits.items()
        for place in places
    ]


def read_hub(
    place: str, split: str | None, folder: Path, columns: Mapping[str, str | None]
) -> Reading:
    """The captions of a file, whose pictures are written into `folder`/images; those that are there
    stay. UserError where it is no Parquet with pictures."""
    path = _fetched(place, folder / "hub")
    pictures = ParquetPictures.find(path, columns.get("image"))
    if pictures is None:
        raise UserError(f"{place} has no column of pictures: name it with columns.image=….")
    named = list(_named(path, pictures, f"{split}_{path.stem}" if split else path.stem))
    reading = read_table(path, {**columns, "image": NAME}, named)
    for index, (_, row) in enumerate(named):
        _write(folder / "images" / row[NAME], pictures, index)  # once for several captions
    records = [one._replace(split=one.split or split) for one in reading.records]
    return Reading(place, "hub", records, reading.malformed)


def _named(path: Path, pictures: ParquetPictures, prefix: str) -> Iterator[Row]:
    """The rows of a table with a file name for the picture of each: that of a column of names, else
    the picture's own, else its number."""
    column = pictures.column.partition(".")[0]
    for number, row in table_rows(path):
        called = guess_column(row, NAMES)
        own = row.get(column) or {}  # plain bytes are not read
        given = posixpath.basename(str((called and row[called]) or own.get("path") or number))
        name = given if posixpath.splitext(given)[1] else f"{prefix}_{given}.jpg"
        yield number, {**row, NAME: name}


def _fetched(place: str, folder: Path) -> Path:
    """A file of the hub on this machine."""
    if not place.lower().endswith(".parquet"):
        raise UserError(f"{place} is no Parquet file: train on it as it is, with data=shards.")
    if "://" not in place:
        return Path(place)
    files, path = filesystem(place)
    target = folder / place.partition("://")[2].replace("/", "--")
    if not target.is_file():
        with atomic_path(target) as temporary:
            files.get_file(path, str(temporary))
    return target


def _write(target: Path, pictures: ParquetPictures, index: int) -> None:
    if not target.exists():
        content = pictures.read(index)
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)
