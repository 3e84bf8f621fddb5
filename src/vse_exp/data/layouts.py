"""Reading a split of captions and images, whichever of the known layouts lies on disk.

Rows of features are one an image, or each image's row is repeated for its captions (the original's;
the repeats are verified and kept once). An `_images.txt` beside has a file name an image, or one a
caption, which admits any number of captions an image.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vse_exp.data.pairing import group_sizes, map_by_name, names_of_images
from vse_exp.errors import UserError
from vse_exp.files import read_lines
from vse_exp.images.features import (
    ImageFeatures,
    check_rows,
    open_features,
)
from vse_exp.images.pictures import PictureRows
from vse_exp.images.preprocessing import Preparation
from vse_exp.images.provenance import feature_record
from vse_exp.images.rows import Images
from vse_exp.images.sources import Pictures, open_pictures
from vse_exp.split_files import SplitFiles


@dataclass(frozen=True)
class Split:
    """One split: captions, the features of each image once (or pictures in their place), and the
    map between them.

    `caption_image` int64 (n_captions,): the row of each caption's image.
    `unit_norm`: whether the feature rows on disk have unit norm.
    """

    name: str
    captions: list[str]
    caption_image: np.ndarray
    image_features: Images
    image_names: list[str] | None
    files: SplitFiles
    unit_norm: bool
    pictures: str | None = None
    """Where the pictures lie (`scenes`: the program draws them); None: not known."""
    languages: list[str] | None = None
    """The language of each caption; None: not known."""
    image_numbers: np.ndarray | None = None
    """int64 (n_images,), where this is a part of a set: what its images are called in all of it."""

    def keep(self, chosen: np.ndarray) -> Split:
        """The split with the captions `chosen` alone, int64 indices."""
        return replace(
            self,
            captions=[self.captions[index] for index in chosen],
            caption_image=self.caption_image[chosen],
            languages=self.languages and [self.languages[index] for index in chosen],
        )

    @property
    def provenance(self) -> dict[str, Any] | None:
        """How the features were made; None where that is not recorded, and for pictures."""
        if self.image_features.preprocessing is not None:
            return None
        return feature_record(self.files.features)


def load_split(
    files: SplitFiles,
    split: str,
    captions_per_image: int | None = None,
    normalize: bool = False,
    in_memory: bool = False,
    pictures: str | None = None,
    texts: list[str] | None = None,
    caption_image: np.ndarray | None = None,
) -> Split:
    """Read and check one split.

    `captions_per_image` settles what rows alone cannot tell; null: found out. `texts` are captions
    in place of the file's, and `caption_image` int64 (n_captions,) in place of what names and
    numbers say. Raises UserError where files are missing or broken, where rows and captions do not
    fit, and where a row is NaN, infinite or zero.
    """
    captions = read_lines(files.captions) if texts is None else texts
    array = open_features(files.features)
    unit_norm = check_rows(array, files.features)
    names = read_lines(files.images) if os.path.isfile(files.images) else None
    repeats = 1
    if caption_image is not None:
        names = names if names is not None and len(names) == len(array) else None
    elif names is not None and len(names) == len(captions) and len(array) != len(captions):
        names, caption_image = map_by_name(names, array, files)
    else:
        per_image, repeats = group_sizes(len(captions), array, captions_per_image, files)
        caption_image = np.arange(len(captions)) // per_image
        names = names_of_images(names, len(captions), len(array) // repeats, files)
    features = ImageFeatures(array, repeats, normalize)
    if in_memory:
        features = features.load()
    languages = _read_languages(files, len(captions))
    return Split(
        split, captions, caption_image, features, names, files, unit_norm, pictures, languages
    )


def load_picture_split(
    files: SplitFiles, split: str, pictures: str, preprocessing: Preparation
) -> Split:
    """Read captions and names of one split, and its pictures from a folder, archive or `scenes`.

    Names are one a picture, each then with the same number of captions, or one a caption. Raises
    UserError where these do not fit, and for pictures that are missing or unreadable.
    """
    captions, names, caption_image = read_named_captions(files)
    rows = PictureRows.open(find_pictures(pictures, names), preprocessing)
    languages = _read_languages(files, len(captions))
    return Split(split, captions, caption_image, rows, names, files, True, pictures, languages)


def read_named_captions(files: SplitFiles) -> tuple[list[str], list[str], np.ndarray]:
    """Captions, the names of the pictures, and the row of each caption's picture in these.

    UserError where the names are missing or do not fit.
    """
    captions = read_lines(files.captions)
    if not os.path.isfile(files.images):
        raise UserError(
            f"{files.captions} has no {files.images.name} beside it: it names the pictures, one a "
            "line or one a caption."
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
    return captions, names, caption_image


def with_captions(split: Split, sources: Mapping[str, SplitFiles]) -> Split:
    """The images of a split with the captions of other data sets, by the file names of the images.

    `sources`: data sets by name, which is the language of captions that have no file of languages.
    Captions of other images are left out. UserError where there is no name to go by, or no caption.
    """
    if split.image_names is None:
        raise UserError(
            f"data.captions goes by file names of images, and there is no {split.files.images}: "
            "write it, a name an image."
        )
    row_of = {name: row for row, name in enumerate(split.image_names)}
    captions: list[str] = []
    rows: list[int] = []
    languages: list[str] = []
    for name, files in sources.items():
        texts, names, caption_image = read_named_captions(files)
        of = _read_languages(files, len(texts)) or [name] * len(texts)
        found = [row_of.get(names[image], -1) for image in caption_image]
        kept = [index for index, row in enumerate(found) if row >= 0]
        if not kept:
            raise UserError(
                f"{files.images} names no image of {split.files.images} (first: {names[0]}): "
                "correct data.captions."
            )
        captions += [texts[index] for index in kept]
        rows += [found[index] for index in kept]
        languages += [of[index] for index in kept]
    order = np.argsort(rows, kind="stable")  # those of an image stand together, as elsewhere
    joined = replace(
        split, captions=captions, caption_image=np.array(rows, dtype=np.int64), languages=languages
    )
    return joined.keep(order)


def in_languages(split: Split, wanted: Sequence[str]) -> Split:
    """The split with its captions in some languages alone. UserError for one that it has not."""
    there = sorted(set(split.languages or ()))
    for language in wanted:
        if language not in there:
            known = f"has {', '.join(there)}" if there else f"has no {split.files.languages}"
            raise UserError(
                f"data.languages={language}, and {split.files.captions} {known}: correct that key, "
                "or prepare the captions with language=…."
            )
    return split.keep(np.flatnonzero(np.isin(split.languages or [], wanted)))


def _read_languages(files: SplitFiles, n_captions: int) -> list[str] | None:
    if not os.path.isfile(files.languages):
        return None
    languages = read_lines(files.languages)
    if len(languages) != n_captions:
        raise UserError(
            f"{files.languages} has {len(languages)} lines and {files.captions} has {n_captions}: "
            "write a language a caption, or remove it."
        )
    return languages


def fingerprint(files: SplitFiles, captions: Iterable[SplitFiles] = ()) -> dict[str, Any]:
    """What tells these files from others of the same names: a hash of the captions (or of those
    `captions` that stand in their place) and of the list of images, and of features the shape, a
    hash of some rows and how they were made."""
    texts = [one.captions.read_bytes() for one in captions] or [files.captions.read_bytes()]
    found: dict[str, Any] = {"captions": _hash(b"".join(texts))}
    if os.path.isfile(files.images):
        found["list of images"] = _hash(files.images.read_bytes())
    if os.path.isfile(files.features):
        array = open_features(files.features)
        some = np.ascontiguousarray(array[:: max(1, len(array) // 50)])
        found["image features"] = {
            "shape": list(array.shape),
            "rows": _hash(some.tobytes()),
            "provenance": feature_record(files.features),
        }
    return found


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def find_pictures(place: str, names: Sequence[str]) -> Pictures:
    """The pictures `names` of a folder, archive, or of `scenes`, which the program draws."""
    if place == "scenes":
        from vse_exp.data.scenes.drawn import DrawnPictures

        return DrawnPictures(names)
    return open_pictures(place, names)
