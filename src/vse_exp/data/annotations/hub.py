"""Data sets of Hugging Face's hub, of Parquet files with the pictures inside."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from vse_exp.data.annotations.records import Reading
from vse_exp.data.annotations.tables import read_table
from vse_exp.data.places import HUB, filesystem, hub_splits
from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.images.archives import ParquetPictures


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
    reading = read_table(path, columns)
    pictures = ParquetPictures.find(path, columns.get("image"))
    if pictures is None:
        raise UserError(f"{place} has no column of pictures: name it with columns.image=….")
    named = {record.image for record in reading.records}
    for index, name in enumerate(pictures.names):
        if name in named:  # and not once more for another caption
            _write(folder / "images" / posixpath.basename(name), pictures, index)
    records = [
        one._replace(image=posixpath.basename(one.image), split=one.split or split)
        for one in reading.records
    ]
    return Reading(place, "hub", records, reading.malformed)


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
