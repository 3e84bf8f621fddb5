"""Blocks: stretches of a shard that are read at once, and the index that knows where they are.

A block of Parquet is a row group, one of a tar a stretch of bytes between two examples. The index
is made once, of Parquet from the files' ends, of a tar from its headers, and kept in the cache
folder; so any block can be read by itself, from a disk or a server, in whatever order.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock

from vse_exp.data.annotations.records import clean
from vse_exp.data.annotations.tables import CANDIDATES, caption_list
from vse_exp.data.places import filesystem
from vse_exp.errors import UserError
from vse_exp.files import read_json, write_json
from vse_exp.images.archives import picture_kind
from vse_exp.images.decoding import is_picture_name, is_readable
from vse_exp.images.sources import guess_column
from vse_exp.images.tables import open_parquet
from vse_exp.progress import progress

MAX_BLOCK = 2 << 30
"""Bytes of a row group that are read at once; larger ones are refused."""
FEATURES = (".npy",)
CAPTIONS = (".txt", ".json", ".caption", ".text")


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
            yield _groups(place) if place.lower().endswith(".parquet") else _stretches(place, block)
        update(len(places), len(places))


def _groups(place: str) -> list[tuple[int, int, int]]:
    about = _parquet(place).metadata
    found = []
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        if group.total_byte_size > MAX_BLOCK:
            raise UserError(
                f"{place} has a row group of {group.total_byte_size >> 20:,} MB, which is read at "
                "once: write it with fewer rows each (row_group_size=1000)."
            )
        found.append((number, number + 1, group.num_rows))
    return found


def _stretches(place: str, block: int) -> list[tuple[int, int, int]]:
    """Stretches of a tar of about `block` examples, none cut in two."""
    files, path = filesystem(place)
    found: list[tuple[int, int, int]] = []
    start, count, key, end = 0, 0, "", 0
    try:
        with files.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # which would grow with the archive
                if not member.isreg():
                    continue
                if (own := _key(member.name)[0]) != key:
                    if count == block:
                        found.append((start, member.offset, count))
                        start, count = member.offset, 0
                    key, count = own, count + 1
                end = member.offset_data + (member.size + 511) // 512 * 512
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{place} is no complete tar archive ({error}).") from error
    return [*found, (start, end, count)] if count else found


def _key(name: str) -> tuple[str, str]:
    """WebDataset's: an example is the files that are called alike up to the first dot."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".")
    return folder + slash + stem, (dot + ending).lower()


def read_block(block: Block, pictures: bool, image: str | None, caption: str | None) -> Examples:
    """The usable examples of a block: with a caption, and a picture that begins like one (or
    features). `image` and `caption` name columns or file endings; None: the usual ones."""
    if block.place.lower().endswith(".parquet"):
        names, captions, images = _read_group(block, pictures, image, caption)
    else:
        names, captions, images = _read_stretch(block, pictures, image, caption)
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


def _read_stretch(
    block: Block, pictures: bool, image: str | None, caption: str | None
) -> tuple[list[str], list[list[str]], list[Any]]:
    files, path = filesystem(block.place)
    with files.open(path, "rb") as file:
        file.seek(block.start)
        content = file.read(block.end - block.start)
    examples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(content + bytes(1024)), mode="r:") as archive:
        for member in archive:
            if member.isreg():
                key, ending = _key(member.name)
                examples.setdefault(key, {})[ending] = archive.extractfile(member).read()  # type: ignore[union-attr]
    images, captions = [], []
    for example in examples.values():
        wanted = (lambda end: is_picture_name(f"x{end}")) if pictures else FEATURES.__contains__
        ending = f".{image.lstrip('.')}" if image else next(filter(wanted, example), "")
        found: Any = example.get(ending)
        if found is not None and not pictures:
            found = _array(found, block.place)
        images.append(found)
        captions.append(_tar_captions(example, caption, block.place))
    if not any(one is not None for one in images):
        what = "picture" if pictures else "features (.npy)"
        endings = ", ".join(sorted({end for each in examples.values() for end in each}))
        raise UserError(f"{block.place} holds no {what} (it has {endings}): set data.layout.image.")
    return list(examples), captions, images


def _array(content: bytes, place: str) -> np.ndarray:
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # numpy reads the header as Python, and raises what that raises
        raise UserError(f"{place} holds a .npy that is none: write it again.") from error


def _tar_captions(example: dict[str, bytes], caption: str | None, place: str) -> list[str]:
    """A caption a line of a text, or what a JSON has under a usual name."""
    endings = [f".{caption.lstrip('.')}"] if caption and f".{caption}" in example else CAPTIONS
    for ending in endings:
        if ending not in example:
            continue
        text = example[ending].decode("utf-8", "replace")
        if ending != ".json":
            return text.split("\n")
        cells = _json_cells(text)
        column = caption if caption in cells else guess_column(cells, CANDIDATES["caption"])
        return caption_list(cells.get(column or "")) or []
    return []


def _json_cells(text: str) -> dict[str, Any]:
    import json

    try:
        cells = json.loads(text)
    except ValueError:
        return {}
    return cells if isinstance(cells, dict) else {}


def _parquet(place: str) -> Any:
    files, path = filesystem(place)
    return open_parquet(place, files.open(path, "rb"))


def _read_group(
    block: Block, pictures: bool, image: str | None, caption: str | None
) -> tuple[list[str], list[list[str]], Any]:
    file = _parquet(block.place)
    schema = {field.name: field.type for field in file.schema_arrow}
    holds = picture_kind if pictures else _feature_kind
    image = image or next((name for name, kind in schema.items() if holds(kind) is not None), None)
    caption = caption or guess_column(schema, CANDIDATES["caption"])
    for key, column in (("image", image), ("caption", caption)):
        if column not in schema:
            what = "captions" if key == "caption" else "pictures" if pictures else "features"
            raise UserError(
                f"{block.place} has no column {column or 'of ' + what} (it has "
                f"{', '.join(schema)}): set data.layout.{key} to that of the {what}."
            )
    assert image is not None
    table = file.read_row_group(block.start, columns=[image, caption], use_threads=False)
    captions = [caption_list(cell) or [] for cell in table[caption].to_pylist()]
    stem = Path(block.place).name.removesuffix(".parquet")
    names = [f"{stem}/{number}" for number in range(block.first, block.first + len(captions))]
    if not pictures:
        return names, captions, _feature_rows(table[image], block.place)
    cells = table[image].to_pylist()
    if picture_kind(schema[image]):  # {bytes, path}
        return names, captions, [cell and cell["bytes"] for cell in cells]
    return names, captions, cells


def _feature_kind(kind: Any) -> str | None:
    """Whether a column holds lists of floats, or lists of such lists."""
    import pyarrow

    kind = getattr(kind, "storage_type", kind)
    if not hasattr(kind, "value_type"):
        return None
    inner = kind.value_type
    return "floats" if pyarrow.types.is_floating(inner) else _feature_kind(inner)


def _feature_rows(column: Any, place: str) -> np.ndarray:
    """A column of lists of floats as an array (n, …). UserError where they differ in size."""
    array = column.combine_chunks()
    array = getattr(array, "storage", array)
    shape = [len(array)]
    while hasattr(array.type, "value_type"):
        inner = array.flatten()
        size, rest = divmod(len(inner), max(1, len(array)))
        lengths = None if hasattr(array.type, "list_size") else array.value_lengths()
        if array.null_count or rest or (lengths is not None and set(lengths.to_pylist()) != {size}):
            raise UserError(
                f"{place} holds features that are missing or of different sizes: mend it."
            )
        shape.append(size)
        array = inner
    return array.to_numpy(zero_copy_only=False).reshape(shape)
