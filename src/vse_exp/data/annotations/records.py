"""Captions of pictures as read from any format, and their cleaning."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from vse_exp.errors import UserError
from vse_exp.files import read_json, write_text
from vse_exp.images.sources import check_name

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}
"""How the formats call the splits, and their names here; other names stay as they are."""


class Record(NamedTuple):
    """One caption of one picture; `split` and `id` are None where the format does not say."""

    image: str
    caption: str
    split: str | None = None
    id: int | None = None
    """COCO's annotation id, by which ECCV Caption knows a caption."""
    language: str | None = None


@dataclass
class Reading:
    """What a reader gave: records, and lines that it could not use."""

    source: str
    format: str
    records: list[Record]
    malformed: list[str] = field(default_factory=list)
    """`line 12: reason`, for each line left out."""
    images_without_captions: int = 0

    def write(self, path: Path) -> None:
        write_text(path, json.dumps(vars(self), ensure_ascii=False))

    @classmethod
    def read(cls, path: Path) -> Reading:
        """What `write` has written."""
        content = read_json(path)
        content["records"] = [Record(*one) for one in content["records"]]
        return cls(**content)


@dataclass
class Annotations:
    """Cleaned captions, grouped by picture in order of first appearance."""

    captions: dict[str, list[str]]
    splits: dict[str, str | None]
    ids: dict[str, list[int | None]]
    """Of the captions, COCO's annotation ids."""
    languages: dict[str, list[str | None]]
    n_empty: int = 0
    """Empty captions, left out."""
    n_duplicate: int = 0
    """Captions that an image has twice, kept."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.captions)

    def __len__(self) -> int:
        return len(self.captions)

    def keep(self, images: set[str]) -> None:
        """Forget all other images."""
        self.rename({name: name for name in images})

    def rename(self, names: Mapping[str, str]) -> None:
        """Give images new names, and forget those that have none."""
        kept = {name: names[name] for name in self.captions if name in names}
        self.captions = {new: self.captions[name] for name, new in kept.items()}
        self.splits = {new: self.splits[name] for name, new in kept.items()}
        self.ids = {new: self.ids[name] for name, new in kept.items()}
        self.languages = {new: self.languages[name] for name, new in kept.items()}


def clean(text: str) -> str:
    """One line of composed Unicode (NFC): runs of white space and control characters, line ends and
    halves of surrogate pairs too, become a blank."""
    if text.isascii() and text.isprintable():  # most are, and there are millions
        return " ".join(text.split())
    text = unicodedata.normalize("NFC", text)
    marks = (" " if unicodedata.category(mark) in ("Cc", "Cs") else mark for mark in text)
    return " ".join("".join(marks).split())


def gather(readings: list[Reading], language: str | None = None) -> Annotations:
    """Group the captions by picture; `language`: of them all, whatever the source says. UserError
    where one picture is in two splits."""
    captions: dict[str, list[str]] = {}
    splits: dict[str, str | None] = {}
    ids: dict[str, list[int | None]] = {}
    languages: dict[str, list[str | None]] = {}
    n_empty = n_duplicate = 0
    for reading in readings:
        for record in reading.records:
            check_name(record.image, reading.source)
            caption = clean(record.caption)
            if not caption:
                n_empty += 1
                continue
            split = split_name(record.split)
            before = splits.setdefault(record.image, split)
            if before != split:
                raise UserError(
                    f"{reading.source}: the image {record.image} is in the splits {before} and "
                    f"{split}: a picture belongs to one."
                )
            own = captions.setdefault(record.image, [])
            n_duplicate += caption in own
            own.append(caption)
            ids.setdefault(record.image, []).append(record.id)
            languages.setdefault(record.image, []).append(language or record.language)
    return Annotations(captions, splits, ids, languages, n_empty, n_duplicate)


def split_name(name: str | None) -> str | None:
    """The split's name here. UserError for one that cannot be part of a file name."""
    if name is None or not name.strip():
        return None
    plain = name.strip().lower()
    if plain in SPLIT_NAMES:
        return SPLIT_NAMES[plain]
    if not plain.replace("_", "").replace("-", "").isalnum():
        raise UserError(f"The split name {name!r} must be of letters, digits, - and _.")
    return plain
