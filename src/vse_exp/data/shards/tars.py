"""Tars as WebDataset has them: an example is the files called alike up to the first dot."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import numpy as np

from vse_exp.data.annotations.tables import CANDIDATES, caption_list
from vse_exp.data.places import filesystem
from vse_exp.errors import UserError
from vse_exp.images.decoding import is_picture_name
from vse_exp.images.sources import guess_column

FEATURES = (".npy",)
CAPTIONS = (".txt", ".json", ".caption", ".text")


def stretches(place: str, block: int) -> list[tuple[int, int, int]]:
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
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise UserError(f"{place} is no complete tar archive ({error}).") from error
    return [*found, (start, end, count)] if count else found


def _key(name: str) -> tuple[str, str]:
    """WebDataset's: an example is the files that are called alike up to the first dot."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".")
    return folder + slash + stem, (dot + ending).lower()


def read_stretch(
    place: str, start: int, end: int, pictures: bool, image: str | None, caption: str | None
) -> tuple[list[str], list[list[str]], list[Any]]:
    """Names, captions and images of the bytes from `start` to `end`; see `read_block`."""
    files, path = filesystem(place)
    with files.open(path, "rb") as file:
        file.seek(start)
        content = file.read(end - start)
    examples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(content + bytes(1024)), mode="r:") as archive:
        for member in archive:
            if member.isreg():
                key, ending = _key(member.name)
                examples.setdefault(key, {})[ending] = archive.extractfile(member).read()  # type: ignore[union-attr]
    images, captions = [], []
    for example in examples.values():
        wanted = (lambda one: is_picture_name(f"x{one}")) if pictures else FEATURES.__contains__
        ending = f".{image.lstrip('.')}" if image else next(filter(wanted, example), "")
        found: Any = example.get(ending)
        if found is not None and not pictures:
            found = _array(found, place)
        images.append(found)
        captions.append(_tar_captions(example, caption, place))
    if not any(one is not None for one in images):
        what = "picture" if pictures else "features (.npy)"
        endings = ", ".join(sorted({one for each in examples.values() for one in each}))
        raise UserError(f"{place} holds no {what} (it has {endings}): set data.layout.image.")
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
        try:
            cells = json.loads(text)
        except (ValueError, RecursionError):
            cells = None
        if not isinstance(cells, dict):
            return []
        column = caption if caption in cells else guess_column(cells, CANDIDATES["caption"])
        return caption_list(cells.get(column or "")) or []
    return []
