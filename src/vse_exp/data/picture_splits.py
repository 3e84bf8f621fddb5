"""Splits with pictures where others have features: captions, names, and where the files lie."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from vse_exp.data.layouts import Split, SplitFiles
from vse_exp.data.pictures import PictureRows
from vse_exp.errors import UserError
from vse_exp.files import read_lines
from vse_exp.images.preprocessing import Preprocessing


def find_pictures(root: str | os.PathLike[str], name: str, split: str) -> str | None:
    """Where the pictures of a data set lie: `{root}/{name}/images_{split}.tar` or its folder
    `images`; for the built-in set the word `scenes`. None where they are not there."""
    if name == "scenes":
        return "scenes"
    folder = Path(root) / name
    for place in (folder / f"images_{split}.tar", folder / "images"):
        if place.exists():
            return str(place.resolve())
    return None


def load_picture_split(
    files: SplitFiles, split: str, pictures: str | os.PathLike[str], preprocessing: Preprocessing
) -> Split:
    """Read captions and names of one split, and its pictures from a folder or archive.

    Names are one a picture, each then with the same number of captions, or one a caption. Raises
    UserError where these do not fit, and for pictures that are missing or unreadable.
    """
    captions = read_lines(files.captions)
    if files.images is None:
        wanted = files.captions.name.removesuffix("_caps.txt") + "_images.txt"
        raise UserError(
            f"{files.captions} has no {wanted} beside it: it names the pictures, one a line or one "
            "a caption."
        )
    lines = read_lines(files.images)
    names = list(dict.fromkeys(lines))
    if len(lines) == len(captions):
        row_of = {name: row for row, name in enumerate(names)}
        caption_image = np.array([row_of[name] for name in lines], dtype=np.int64)
    elif len(names) < len(lines) or len(captions) % len(lines):
        raise UserError(
            f"{files.images} has {len(lines)} lines ({len(names)} different ones) and "
            f"{files.captions} has {len(captions)}: it needs a name for each picture, or for each "
            "caption."
        )
    else:
        caption_image = np.arange(len(captions)) // (len(captions) // len(names))
    rows = PictureRows.open(pictures, names, preprocessing)
    return Split(split, captions, caption_image, rows, names, files, unit_norm=True)
