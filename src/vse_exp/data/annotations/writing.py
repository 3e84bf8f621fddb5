"""Writing captions, names of images and ids of captions where `SplitFiles` has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vse_exp.data.annotations.records import Annotations
from vse_exp.errors import UserError
from vse_exp.files import as_lines, read_text, write_texts
from vse_exp.split_files import SplitFiles


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
    also: Mapping[Path, str] | None = None,
) -> list[WrittenSplit]:
    """Write all splits below `folder`; captions of a picture are contiguous.

    The list of images has a line a picture where all have equally many captions, else a line a
    caption; ids and languages of captions are written where all have one. `also`: other texts, by
    path, that appear together with them. UserError where other files would be replaced and
    `overwrite` is not set.
    """
    order = {"train": 0, "dev": 1, "test": 2}
    found = sorted({str(split) for split in annotations.splits.values()})
    texts: dict[Path, str] = {}
    of_others: list[Path] = []
    counts = []
    for split in sorted(found, key=lambda split: order.get(split, 3)):
        names = [image for image in annotations if annotations.splits[image] == split]
        sizes = [len(annotations.captions[image]) for image in names]
        captions = [tokenize(caption) for image in names for caption in annotations.captions[image]]
        repeats = [1] * len(names) if len(set(sizes)) == 1 else sizes
        lines = [image for image, count in zip(names, repeats, strict=True) for _ in range(count)]
        files = SplitFiles(folder / f"{name}_{split}")
        texts[files.captions] = as_lines(captions)
        texts[files.images] = as_lines(lines)
        ids = [number for image in names for number in annotations.ids[image]]
        if None not in ids:
            texts[files.caption_ids] = as_lines(map(str, ids))
        elif overwrite:
            of_others.append(files.caption_ids)
        languages = [one for image in names for one in annotations.languages[image]]
        if None not in languages:
            texts[files.languages] = as_lines(map(str, languages))
        elif overwrite:
            of_others.append(files.languages)
        n_words = sum(len(caption.split()) for caption in captions)
        counts.append(
            WrittenSplit(split, len(names), len(captions), min(sizes), max(sizes), n_words)
        )
    if not overwrite:
        for path, text in texts.items():
            if path.exists() and read_text(path) != text:
                raise UserError(
                    f"{path} is there already with other content: overwrite=true replaces it "
                    "(features beside it must then be extracted again)."
                )
    write_texts({**texts, **(also or {})})
    for path in of_others:
        path.unlink(missing_ok=True)
    return counts
