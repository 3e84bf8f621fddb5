"""Choosing the reader of an annotation file or folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vse_exp.data.annotations.coco import is_coco, is_karpathy, read_coco, read_karpathy
from vse_exp.data.annotations.flickr import is_token_file, read_tokens
from vse_exp.data.annotations.records import Reading
from vse_exp.data.annotations.tables import read_table
from vse_exp.errors import UserError
from vse_exp.files import read_json
from vse_exp.images.tables import SUFFIXES

FORMATS = ("auto", "tokens", "table", "coco", "karpathy")
_KNOWN_FILES = (
    ("Flickr8k.token.txt", "results_20130124.token", "results.token"),
    ("dataset_*.json", "dataset.json"),
    ("captions_*.json",),
    ("captions.txt", "captions.csv", "results.csv"),
    ("captions.tsv", "captions.jsonl", "*.parquet"),
)
"""What is looked for in a folder: the first line that has any file."""


def find_annotations(sources: Sequence[Path]) -> list[Path]:
    """The annotation files among `sources`: files as given, and the known ones in folders."""
    files: list[Path] = []
    for source in sources:
        if os.path.isdir(source):
            files += _in_folder(source)
        elif os.path.isfile(source):
            files.append(source)
        else:
            raise UserError(f"No file or folder {source}: correct source=….")
    return files


def read_annotations(
    path: Path,
    format: str = "auto",
    columns: Mapping[str, str | None] | None = None,
    restval: str = "train",
) -> Reading:
    """Read one file, by its content where `format` is auto. UserError where it fits no format."""
    if format not in FORMATS:
        raise UserError(f"Unknown format={format}: choose one of {', '.join(FORMATS)}.")
    if format == "tokens":
        return read_tokens(path)
    if format == "table":
        return read_table(path, columns)
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if isinstance(content, dict):
            if format == "karpathy" or (format == "auto" and is_karpathy(content)):
                return read_karpathy(path, content, restval)
            if format == "coco" or (format == "auto" and is_coco(content)):
                return read_coco(path, content)
        elif isinstance(content, list) and format == "auto":
            return read_table(path, columns)
        raise UserError(
            f"{path} is JSON of no known kind: known are COCO's captions, Karpathy's datasets, and "
            "a list of rows."
        )
    if format != "auto":
        raise UserError(f"format={format} is read from a .json file, and {path} is none.")
    if path.suffix.lower() not in SUFFIXES and is_token_file(_first_line(path)):
        return read_tokens(path)
    return read_table(path, columns)


def _first_line(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(10_000).rstrip("\r\n")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error


def _in_folder(folder: Path) -> list[Path]:
    for patterns in _KNOWN_FILES:
        found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
        if len(found) > 1 and "captions_*.json" not in patterns:  # COCO's are one a split
            names = ", ".join(path.name for path in found)
            raise UserError(f"The folder {folder} holds several annotations: name one of {names}.")
        if found:
            return found
    looked = ", ".join(pattern for patterns in _KNOWN_FILES for pattern in patterns)
    raise UserError(f"No annotations in the folder {folder} (looked for {looked}): name the file.")
