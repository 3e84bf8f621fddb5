"""The built-in data set on disk: made once into the cache folder, in the ordinary layout."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from pathlib import Path

import numpy as np

from vse_exp.alive import doing
from vse_exp.data.scenes.descriptor import DIM, describe
from vse_exp.data.scenes.drawing import SIZE, draw
from vse_exp.data.scenes.grammar import captions
from vse_exp.data.scenes.sampling import TWINS, VERSION, sample_scene, scene_name
from vse_exp.errors import UserError
from vse_exp.files import as_lines, atomic_path, write_json, write_texts
from vse_exp.split_files import SplitFiles

CHUNK = 100
"""Pictures held in memory at once."""
PAIRS = 500
"""Of the split `twins`."""


def cache_folder() -> Path:
    """Where files that can be made again are kept: VSE_CACHE_DIR, else the user's cache folder."""
    given = os.environ.get("VSE_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    # by the XDG rules an empty or relative value counts as none
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (base if base.is_absolute() else Path.home() / ".cache") / "vse_exp"


def prepare_scenes(
    cache_dir: str | os.PathLike[str] | None = None,
    seed: int = 0,
    n_train: int = 2000,
    n_dev: int = 500,
    n_test: int = 500,
) -> Path:
    """Make the data set, or find it made, and return its root: `ROOT/scenes/scenes_{split}_…`.

    The root's name says all that the content depends on. It appears there complete or not at all;
    of several processes at once the first one's stays. `cache_dir` None: `cache_folder()`.
    Raises UserError for sizes below one, a negative seed, and where it cannot write.
    """
    sizes = split_sizes(seed, n_train, n_dev, n_test)
    return _made(cache_dir, seed, sizes, f"{n_train}-{n_dev}-{n_test}")


def prepare_twins(
    cache_dir: str | os.PathLike[str] | None = None, seed: int = 0, **_sizes: int
) -> Path:
    """The same for the split `twins`, and its pairs as questions of two images and two captions."""
    return _made(cache_dir, seed, {TWINS: 2 * PAIRS}, TWINS)


def _made(
    cache_dir: str | os.PathLike[str] | None, seed: int, sizes: dict[str, int], kind: str
) -> Path:
    cache = Path(cache_dir) if cache_dir is not None else cache_folder()
    root = cache / f"scenes-v{VERSION}-seed{seed}-{kind}"
    if root.is_dir():
        return root
    unfinished = cache / f".{root.name}-{secrets.token_hex(4)}"
    count = sum(sizes.values())
    print(f"Drawing the built-in data set, {count} pictures, into {root}", file=sys.stderr)
    doing("drawing")
    try:
        unfinished.mkdir(parents=True)
        _write_layout(unfinished / "scenes", seed, sizes)
        try:
            unfinished.rename(root)
        except OSError:
            if not root.is_dir():  # else another process was first, with the same content
                raise
    except OSError as error:
        raise UserError(
            f"Cannot write the built-in data set into {cache} ({error.strerror or error}): set "
            "VSE_CACHE_DIR to a folder with room."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return root


def split_sizes(seed: int, n_train: int, n_dev: int, n_test: int) -> dict[str, int]:
    """Pictures by split. UserError for sizes below one and a negative seed."""
    if seed < 0:
        raise UserError(f"The seed of the built-in data set is {seed}: give one of 0 or more.")
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    for split, count in sizes.items():
        if count < 1:
            raise UserError(
                f"The built-in data set was asked for {count} {split} pictures: "
                f"n_{split} must be 1 or more."
            )
    return sizes


def _write_layout(folder: Path, seed: int, sizes: dict[str, int]) -> None:
    for split, count in sizes.items():
        lines: list[str] = []
        rows = np.empty((count, DIM), dtype=np.float16)
        for start in range(0, count, CHUNK):
            indices = range(start, min(start + CHUNK, count))
            scenes = [sample_scene(seed, split, index) for index in indices]
            rows[start : indices.stop] = describe([draw(scene) for scene in scenes])
            lines.extend(caption for scene in scenes for caption in captions(scene))
        names = [scene_name(seed, split, index) for index in range(count)]
        files = SplitFiles(folder / f"scenes_{split}")
        texts = {files.captions: as_lines(lines), files.images: as_lines(names)}
        if split == TWINS:
            texts[files.choices] = as_lines(_questions(names, lines))
        write_texts(texts)
        with atomic_path(files.features) as path:
            np.save(path, rows)
    about = {
        "backbone": "scenes",
        "version": VERSION,
        "dim": DIM,
        "dtype": "float16",
        "normalized": True,
        "picture_size": SIZE,
    }
    write_json(SplitFiles(folder / "scenes").folder_provenance, about)


def _questions(names: list[str], lines: list[str]) -> list[str]:
    """Each scene and its twin, a line of JSON each."""
    return [
        json.dumps({"image_0": one, "image_1": other, "caption_0": first, "caption_1": second})
        for one, other, first, second in zip(
            names[::2], names[1::2], lines[::2], lines[1::2], strict=True
        )
    ]
