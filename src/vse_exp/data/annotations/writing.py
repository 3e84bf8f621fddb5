"""Writing captions in our layout: `{name}_{split}_caps.txt`, `_images.txt`, `_caption_ids.txt`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from vse_exp.data.annotations.records import Annotations
from vse_exp.errors import UserError
from vse_exp.files import write_text


@dataclass(frozen=True)
class WrittenSplit:
    """Counts of one split."""

    name: str
    n_images: int
    n_captions: int
    fewest: int
    """Captions of the image with the fewest."""
    most: int
    n_words: int


def write_splits(
    annotations: Annotations,
    folder: Path,
    name: str,
    tokenize: Callable[[str], str],
    overwrite: bool = False,
) -> list[WrittenSplit]:
    """Write all splits below `folder`; captions of a picture are contiguous.

    The list of images has a line a picture where all have equally many captions, else a line a
    caption; ids of captions are written where all have one. UserError where other files would be
    replaced and `overwrite` is not set.
    """
    order = {"train": 0, "dev": 1, "test": 2}
    found = sorted({str(split) for split in annotations.splits.values()})
    files: dict[Path, str] = {}
    counts = []
    for split in sorted(found, key=lambda split: order.get(split, 3)):
        names = [image for image in annotations if annotations.splits[image] == split]
        sizes = [len(annotations.captions[image]) for image in names]
        captions = [tokenize(caption) for image in names for caption in annotations.captions[image]]
        repeats = [1] * len(names) if len(set(sizes)) == 1 else sizes
        lines = [image for image, count in zip(names, repeats, strict=True) for _ in range(count)]
        stem = folder / f"{name}_{split}"
        files[stem.with_name(stem.name + "_caps.txt")] = _text(captions)
        files[stem.with_name(stem.name + "_images.txt")] = _text(lines)
        ids = [number for image in names for number in annotations.ids[image]]
        path = stem.with_name(stem.name + "_caption_ids.txt")
        if None not in ids:
            files[path] = _text(map(str, ids))
        elif overwrite:  # of other captions
            path.unlink(missing_ok=True)
        n_words = sum(len(caption.split()) for caption in captions)
        counts.append(
            WrittenSplit(split, len(names), len(captions), min(sizes), max(sizes), n_words)
        )
    if not overwrite:
        for path, text in files.items():
            if path.exists() and path.read_text(encoding="utf-8") != text:
                raise UserError(
                    f"{path} is there already with other content: overwrite=true replaces it "
                    "(features beside it must then be extracted again)."
                )
    for path, text in files.items():
        write_text(path, text)
    return counts


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
