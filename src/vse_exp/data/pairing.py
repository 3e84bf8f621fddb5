"""Which caption is of which image, by a list of names or by equal groups."""

from __future__ import annotations

import numpy as np

from vse_exp.errors import UserError
from vse_exp.images.features import equal_runs, row_chunks
from vse_exp.split_files import SplitFiles


def map_by_name(
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


def group_sizes(
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
        same = (block[1:] == block[:-1]).reshape(len(block) - 1, array[0].size).all(1)
        if same.any():
            row = part.start + int(same.argmax())
            raise UserError(
                f"{numbers}, where rows {row} and {row + 1} are equal but the repeats are not "
                "regular: put an _images.txt beside them with a file name a caption, and one row "
                "an image, or set data.captions_per_image."
            )
    return 1


def names_of_images(
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
