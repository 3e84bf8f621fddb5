"""Reading a split of captions and image features, whichever of the known layouts lies on disk.

- the original's `{root}/{name}/{name}_{split}_caps.txt` and `_ims.npy`, each image's row repeated
  for its captions (the repeats are verified and kept once), or one row an image;
- VSE++'s `{root}/{name}_precomp/{split}_caps.txt` and `_ims.npy` (or `{root}/{name}/…`);
- either with an `_images.txt` beside: a file name an image, or a file name a caption, which admits
  any number of captions an image; and, for COCO, a `_caption_ids.txt`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import read_lines
from vse_exp.images.features import (
    ImageFeatures,
    check_rows,
    equal_runs,
    open_features,
    row_chunks,
)

if TYPE_CHECKING:
    from vse_exp.data.pictures import PictureRows


@dataclass(frozen=True)
class SplitFiles:
    """Where the parts of one split lie; `images` (names) may be absent."""

    captions: Path
    features: Path
    images: Path | None

    @property
    def caption_ids(self) -> Path:
        """Where COCO's annotation id of each caption stands, a line each; may be absent."""
        stem = self.captions.name.removesuffix("_caps.txt").removesuffix(".txt")
        return self.captions.with_name(f"{stem}_caption_ids.txt")


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
    image_features: ImageFeatures | PictureRows
    image_names: list[str] | None
    files: SplitFiles
    unit_norm: bool


def find_files(root: str | os.PathLike[str], name: str, split: str) -> SplitFiles:
    """The files of a split in the first layout that is there. UserError says where it looked."""
    root = Path(root)
    stems = [root / name / f"{name}_{split}", root / f"{name}_precomp" / split, root / name / split]
    for stem in stems:
        captions = stem.with_name(stem.name + "_caps.txt")
        if captions.is_file():
            images = stem.with_name(stem.name + "_images.txt")
            return SplitFiles(
                captions,
                stem.with_name(stem.name + "_ims.npy"),
                images if images.is_file() else None,
            )
    looked = ", ".join(f"{stem}_caps.txt" for stem in stems)
    raise UserError(
        f"No {split} split of data set {name!r} (looked for {looked}): set VSE_DATA_DIR or "
        "paths.data_dir to the folder that holds it, or make it with `python -m vse_exp.prepare` "
        "(captions) and `python -m vse_exp.extract` (image features)."
    )


def given_files(
    files: Mapping[str, str | None], split: str, images_from: str = "features"
) -> SplitFiles:
    """The files of a split named by keys: `captions`, `features` and, at will, `images`; where
    `images_from` is `images` (names of pictures), that and not `features`."""
    for key in ("captions", images_from):
        if not files.get(key):
            raise UserError(f"data.files.{split}.{key} is not set: give the path of that file.")
        if not Path(str(files[key])).is_file():
            raise UserError(f"No file {files[key]} (data.files.{split}.{key}): correct the path.")
    images = files.get("images")
    if images and not Path(images).is_file():
        raise UserError(f"No file {images} (data.files.{split}.images): correct the path.")
    return SplitFiles(
        Path(str(files["captions"])),
        Path(str(files.get("features"))),
        Path(images) if images else None,
    )


def load_split(
    files: SplitFiles,
    split: str,
    captions_per_image: int | None = None,
    normalize: bool = False,
    in_memory: bool = False,
) -> Split:
    """Read and check one split.

    `captions_per_image` settles what rows alone cannot tell; null: found out. Raises UserError
    where files are missing or broken, where rows and captions do not fit, and where a row is NaN,
    infinite or zero.
    """
    captions = read_lines(files.captions)
    array = open_features(files.features)
    unit_norm = check_rows(array, files.features)
    names = read_lines(files.images) if files.images else None
    if names is not None and len(names) == len(captions) and len(array) != len(captions):
        names, caption_image = _map_by_name(names, array, files)
        repeats = 1
    else:
        per_image, repeats = _group_sizes(len(captions), array, captions_per_image, files)
        caption_image = np.arange(len(captions)) // per_image
        names = _names_of_images(names, len(captions), len(array) // repeats, files)
    features = ImageFeatures(array, repeats, normalize)
    if in_memory:
        features = features.load()
    return Split(split, captions, caption_image, features, names, files, unit_norm)


def _map_by_name(
    names: list[str], array: np.ndarray, files: SplitFiles
) -> tuple[list[str], np.ndarray]:
    """Image names by row, and the row of each caption, from a file with a name a caption."""
    row_of = {name: row for row, name in enumerate(dict.fromkeys(names))}
    if len(row_of) != len(array):
        raise UserError(
            f"{files.images} names {len(row_of)} images, and {files.features} has {len(array)} "
            "rows: they must be the same number, in order of first appearance."
        )
    return list(row_of), np.array([row_of[name] for name in names], dtype=np.int64)


def _group_sizes(
    n_captions: int, array: np.ndarray, captions_per_image: int | None, files: SplitFiles
) -> tuple[int, int]:
    """Captions an image, and equal rows an image, of contiguous groups."""
    n_rows = len(array)
    numbers = f"{files.features} has {n_rows} rows and {files.captions} has {n_captions} captions"
    if n_rows == n_captions:
        if captions_per_image is None:
            repeats = _count_repeats(array, numbers)
        elif n_rows % captions_per_image or not equal_runs(array, captions_per_image):
            raise UserError(
                f"{numbers}, but the rows are not equal in groups of {captions_per_image} "
                "(data.captions_per_image): correct that key or the file."
            )
        else:
            repeats = captions_per_image
        return repeats, repeats
    if n_captions % n_rows or (captions_per_image or n_captions // n_rows) != n_captions // n_rows:
        wanted = f"{captions_per_image} captions an image" if captions_per_image else "a multiple"
        raise UserError(
            f"{numbers}, which is not {wanted}: for different numbers of captions an image put an "
            "_images.txt beside them with the image's file name for each caption, a line a caption."
        )
    return n_captions // n_rows, 1


def _count_repeats(array: np.ndarray, numbers: str) -> int:
    """How often each row is repeated: five (the original's), another number, or not at all."""
    n_rows = len(array)
    for size in (5, *(size for size in range(20, 1, -1) if size != 5)):
        if n_rows % size == 0 and equal_runs(array, size):
            return size
    for part in row_chunks(array):
        block = np.asarray(array[part.start : part.stop + 1])
        same = (block[1:] == block[:-1]).reshape(len(block) - 1, -1).all(1)
        if same.any():
            row = part.start + int(same.argmax())
            raise UserError(
                f"{numbers}, where rows {row} and {row + 1} are equal but the repeats are not "
                "regular: put an _images.txt beside them with a file name a caption, and one row "
                "an image, or set data.captions_per_image."
            )
    return 1


def _names_of_images(
    names: list[str] | None, n_captions: int, n_images: int, files: SplitFiles
) -> list[str] | None:
    """Names by image, from a file with a line an image or, for contiguous groups, a caption."""
    if names is None or len(names) == n_images:
        return names
    if len(names) == n_captions:
        firsts = list(dict.fromkeys(names))
        if len(firsts) == n_images:
            return firsts
    raise UserError(
        f"{files.images} has {len(names)} lines, and there are {n_images} images with "
        f"{n_captions} captions: it needs a file name for each image, or for each caption."
    )
