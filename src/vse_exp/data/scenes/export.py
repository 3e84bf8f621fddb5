"""The pictures and captions of the built-in data set as plain files, for people and pages."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from vse_exp.data.scenes.build import split_sizes
from vse_exp.data.scenes.drawing import SIZE, draw
from vse_exp.data.scenes.grammar import captions
from vse_exp.data.scenes.sampling import named_scene, sample_scene, scene_name
from vse_exp.errors import UserError
from vse_exp.files import atomic_path

SMALLEST = 16


def write_pictures(
    folder: str | os.PathLike[str], names: Iterable[str], size: int = SIZE
) -> list[Path]:
    """Draw the pictures of these file names, as `_images.txt` lists them, into `folder`.

    `size` is their width in pixels. Returns their paths. UserError for a name that is none of ours,
    a size below 16, and where it cannot write.
    """
    if size < SMALLEST:
        raise UserError(f"Pictures of {size} pixels show nothing: ask for {SMALLEST} or more.")
    paths = []
    for name in names:
        scene = named_scene(name)
        if scene is None:
            raise UserError(
                f"{name!r} is no picture of the built-in data set: "
                "give names like scene_0_dev_00012.png."
            )
        path = Path(folder) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(scene, size).save(path)
        except OSError as error:
            raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
        paths.append(path)
    return paths


def write_folder(
    folder: str | os.PathLike[str],
    seed: int = 0,
    n_train: int = 2000,
    n_dev: int = 500,
    n_test: int = 500,
    size: int = SIZE,
) -> Path:
    """Write pictures and captions as one would have them of one's own; returns the table's path.

    `folder/images/*.png`, and `folder/captions.csv` with the columns image (file name in
    `images/`), caption and split.
    """
    folder = Path(folder)
    rows: list[tuple[str, str, str]] = []
    for split, count in split_sizes(seed, n_train, n_dev, n_test).items():
        names = [scene_name(seed, split, index) for index in range(count)]
        write_pictures(folder / "images", names, size)
        for index, name in enumerate(names):
            scene = sample_scene(seed, split, index)
            rows.extend((name, caption, split) for caption in captions(scene))
    table = folder / "captions.csv"
    with atomic_path(table) as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption", "split"))
        writer.writerows(rows)
    return table
