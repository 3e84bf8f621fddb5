"""Blocks: stretches of a shard that are read at once, and the index that knows where they are.

A block of Parquet is a row group, one of a tar a stretch of bytes between two examples. The index
is made once, of Parquet from the files' ends, of a tar from its headers, and kept in the cache
folder; so any block can be read by itself, from a disk or a server, in whatever order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from vse_exp.data.annotations.records import clean
from vse_exp.data.places import filesystem
from vse_exp.data.shards.groups import groups, read_group
from vse_exp.data.shards.tars import read_stretch, stretches
from vse_exp.errors import UserError
from vse_exp.files import read_json, write_json
from vse_exp.images.decoding import is_readable
from vse_exp.progress import progress


class Block(NamedTuple):
    """`n_images` images (a few of which may turn out to be unusable) of the shard `place`, numbered
    on from `first` over the whole set: row group `start`, or the bytes from `start` to `end`."""

    place: str
    start: int
    end: int
    n_images: int
    first: int


class Examples(NamedTuple):
    """What a block holds: a list of captions an image, and pictures' files or rows of features."""

    names: list[str]
    captions: list[list[str]]
    images: list[bytes] | np.ndarray
    numbers: np.ndarray
    """Of the images, int64 (n,)."""


def find_blocks(places: Sequence[str], block: int, cache: Path) -> list[Block]:
    """The blocks of all shards, from the index in `cache`, which is made where it is missing or
    a shard has changed. Those of a tar have about `block` images."""
    stamps = [_stamp(place) for place in places]
    key = hashlib.sha256("\n".join([str(block), *stamps]).encode()).hexdigest()[:32]
    path = cache / "shards" / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):  # of several processes the first makes it
        if path.is_file():
            parts = read_json(path)
        else:
            parts = list(_indexed(places, block))
            write_json(path, parts)
    found, first = [], 0
    for place, part in zip(places, parts, strict=True):
        for start, end, count in part:
            found.append(Block(place, start, end, count, first))
            first += count
    if not found:
        raise UserError(f"{places[0]} and the other shards hold nothing: correct the paths.")
    return found


def _stamp(place: str) -> str:
    """What changes when a shard does."""
    files, path = filesystem(place)
    try:
        info = files.info(path)
    except OSError as error:
        reason = error.strerror or f"{type(error).__name__} {error}"
        raise UserError(f"Cannot read the shard {place}: {reason}.") from error
    changed = info.get("mtime") or info.get("ETag") or info.get("last_modified") or ""
    return f"{place} {info.get('size')} {changed}"


def _indexed(places: Sequence[str], block: int) -> Iterator[list[tuple[int, int, int]]]:
    with progress("indexing shards", "shards") as update:
        for number, place in enumerate(places):
            update(number, len(places))
            yield groups(place) if place.lower().endswith(".parquet") else stretches(place, block)
        update(len(places), len(places))


def read_block(block: Block, pictures: bool, image: str | None, caption: str | None) -> Examples:
    """The usable examples of a block: with a caption, and a picture that begins like one (or
    features). `image` and `caption` name columns or file endings; None: the usual ones."""
    if block.place.lower().endswith(".parquet"):
        names, captions, images = read_group(
            block.place, block.start, block.first, pictures, image, caption
        )
    else:
        names, captions, images = read_stretch(
            block.place, block.start, block.end, pictures, image, caption
        )
    texts = [[text for one in each if (text := clean(one))] for each in captions]
    good = [
        row
        for row, each in enumerate(texts)
        if each and images[row] is not None and (not pictures or is_readable(images[row]))
    ]
    chosen = np.array(good, dtype=np.int64)
    if isinstance(images, np.ndarray):
        kept: Any = images[chosen]
    else:
        kept = [images[row] for row in good] if pictures else _stacked(images, good, block)
    return Examples(
        [names[row] for row in good], [texts[row] for row in good], kept, block.first + chosen
    )


def _stacked(images: Sequence[Any], good: Sequence[int], block: Block) -> np.ndarray:
    try:
        return np.stack([images[row] for row in good]) if good else np.zeros((0, 0), np.float32)
    except ValueError as error:
        raise UserError(
            f"{block.place} holds features of different shapes: make all alike."
        ) from error
