"""Vectors that any other program made, in the place of a model: rows of a split in two files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.data.layouts import Split, load_split
from vse_exp.data.opening import find_split_files, in_its_words, place_of_pictures
from vse_exp.errors import UserError
from vse_exp.evaluation.rows import as_map
from vse_exp.images.features import ImageFeatures, check_rows, load_array, open_features
from vse_exp.models.dual import DualEncoder
from vse_exp.models.ensemble import concatenate
from vse_exp.similarity import Cosine
from vse_exp.split_files import SplitFiles


class GivenVectors(DualEncoder):
    """Rows of images and of captions as another program gave them, compared by cosine.

    Its images are their rows, and its captions those texts alone whose rows it was given; rows
    that have unit norm all stay as they are. Of a text that stands there twice the first row is
    found, except where all are asked for in order.
    """

    encodes_anything = False
    place = torch.device("cpu")
    """Where they are ranked."""

    def __init__(self, files: Sequence[Path], texts: Sequence[str], rows: np.ndarray, unit: bool):
        super().__init__()
        self.files, self.texts, self.rows, self.unit = files, list(texts), rows, unit
        self.dim, self.similarity = rows.shape[1], Cosine()
        self.name = str(files[0])

    @property
    def device(self) -> torch.device:
        return self.place

    def embed_in(self, precision: str) -> None:
        if precision != "32-true":
            raise UserError(f"{self.name} holds vectors: leave out precision={precision}.")

    def encode_sentences(
        self, captions: Sequence[str], batch_size: int | None = None, verbose: bool = False
    ) -> np.ndarray:
        places: Any = slice(None)
        if list(captions) != self.texts:
            row_of = {text: row for row, text in reversed(list(enumerate(self.texts)))}
            if unknown := [text for text in captions if text not in row_of]:
                raise UserError(
                    f"{self.files[-1]} has vectors of a split's captions, and none of "
                    f"{unknown[0]!r}: what needs new sentences needs the model that made them."
                )
            places = [row_of[text] for text in captions]
        return self._placed(torch.from_numpy(np.array(self.rows[places], np.float32))).numpy()

    def embed_images(self, images: Any) -> Tensor:
        if images.shape[1:] != (self.dim,):
            shape = "x".join(map(str, images.shape[1:]))
            raise UserError(f"{self.name} has rows of {self.dim} values, and these have {shape}.")
        return self._placed(images)

    def _placed(self, rows: Tensor) -> Tensor:
        return rows if self.unit else normalize(rows, dim=-1)

    def check_features(
        self, record: dict[str, Any] | None, allow: bool, key: str = "allow_feature_mismatch"
    ) -> None:
        """Vectors have been made of whatever was fit for them."""

    def fingerprint(self) -> str:
        digests = []
        for path in self.files:
            with open(path, "rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").digest())
        return hashlib.sha256(b"".join(digests)).hexdigest()

    def describe(self) -> str:
        return f"{self.name} (vectors of another program, {self.dim} values)"


class VectorFile(NamedTuple):
    """Rows (n, d) of a file `.npy`, or of several side by side; whether they have unit norm."""

    files: list[Path]
    rows: np.ndarray
    unit: bool

    def placed(self) -> np.ndarray:
        """float32 rows of unit norm."""
        rows = np.array(self.rows, np.float32)
        return rows if self.unit else normalize(torch.from_numpy(rows), dim=-1).numpy()


def open_vectors(files: str | Sequence[str]) -> VectorFile:
    """Vectors of any program; of several their unit rows joined, whose inner products are the mean
    of their cosines (`concatenate`). UserError for files that are missing, are not such arrays
    (pickles are never read), hold NaN, or have rows of different items."""
    paths = [Path(one) for one in ([files] if isinstance(files, str) else files)]
    each = []
    for path in paths:
        rows = open_features(path)
        if rows.ndim != 2:
            raise UserError(
                f"{path} has shape {rows.shape}, and vectors are (n, d): a row an item."
            )
        each.append(VectorFile([path], rows, check_rows(rows, path)))
    if len(each) == 1:
        return each[0]
    return VectorFile(paths, concatenate([one.placed() for one in each]), True)


def given_vectors(
    images: str | Sequence[str],
    captions: str | Sequence[str] | None = None,
    caption_image: str | None = None,
    data: Mapping[str, Any] | None = None,
    split: str = "test",
) -> tuple[GivenVectors, Split]:
    """The vectors in files `.npy`, images (n_images, d) and captions (n_captions, d), and the split
    that they are of.

    Texts, names and pairs are those of `data`, else of the `_caps.txt` and `_images.txt` beside
    `images`, else numbers, and equal groups of captions an image. `caption_image`, whole numbers
    (n_captions,), is the row of each caption's image in place of that. Several files a side are
    an ensemble (`open_vectors`). UserError for files that are none or do not fit each other.
    """
    sides = [open_vectors(one) for one in (images, captions) if one is not None]
    files, rows = [path for side in sides for path in side.files], [side.rows for side in sides]
    if captions is None:
        rows.append(rows[0][:0])
    if rows[0].shape[1] != rows[1].shape[1]:
        raise UserError(
            f"{images} has rows of {rows[0].shape[1]} values, and {captions} of "
            f"{rows[1].shape[1]}: give vectors of one space."
        )
    pairs = None if caption_image is None else as_map(load_array(caption_image)).numpy()
    beside = SplitFiles.of_features(files[0])
    if data is not None:
        own = find_split_files(data, split)
        own = replace(own, given={**own.given, "features": files[0]})
        per_image, pictures = data.get("captions_per_image"), place_of_pictures(data, own, split)
        found = load_split(own, split, per_image, pictures=pictures, caption_image=pairs)
        found = in_its_words(found, data, split)
    elif captions is not None and beside.captions.is_file():
        found = load_split(beside, split, caption_image=pairs)
    elif pairs is None and len(rows[1]) % len(rows[0]):
        raise UserError(
            f"{captions} has {len(rows[1])} rows and {images} {len(rows[0])}, which is not a "
            "multiple: say which are pairs with caption_image=FILE.npy."
        )
    else:
        own = replace(beside, given={**beside.given, "captions": files[-1]})
        texts = [f"caption {row}" for row in range(len(rows[1]) or len(rows[0]))]
        found = load_split(own, split, texts=texts, caption_image=pairs)
    if captions is None:
        found = found.keep(np.zeros(0, np.int64))
    if len(found.captions) != len(rows[1]):
        raise UserError(
            f"{captions} has {len(rows[1])} rows, and there are {len(found.captions)} captions in "
            f"{found.files.captions}: they must be of one split, in one order."
        )
    if len(sides[0].files) > 1:
        found = replace(found, image_features=ImageFeatures(rows[0], 1, False))
    unit = all(side.unit for side in sides)
    return GivenVectors(files, found.captions, rows[1], unit), found
