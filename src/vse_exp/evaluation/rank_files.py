"""Per-query ranks on disk, what two runs are compared by, and how they compare."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Answers, Ranks
from vse_exp.files import atomic_path, write_json

if TYPE_CHECKING:
    from vse_exp.evaluation.protocols import Evaluation
    from vse_exp.evaluation.statistics import Comparison

KEYS = ("annotation_ranks", "search_ranks", "caption_image")
ANSWERS = ("wrong", "query", "image", "grade", "paired")
"""What is kept of each direction where all right answers were ranked: `annotation_wrong` …"""


def write_ranks(
    path: str | os.PathLike[str], evaluation: Evaluation, protocol: str | None = None
) -> None:
    """Write the ranks of an evaluation as `.npz`, with its protocol or the one given."""
    ranks = evaluation.ranks
    arrays: dict[str, Any] = {
        "annotation_ranks": ranks.annotation.first,
        "search_ranks": ranks.search.first,
        "caption_image": ranks.search.image,
        "protocol": np.array(evaluation.protocol if protocol is None else protocol),
    }
    if ranks.annotation.every:
        for name, answers in (("annotation", ranks.annotation), ("search", ranks.search)):
            arrays |= {f"{name}_{part}": getattr(answers, part) for part in ANSWERS}
    with atomic_path(Path(path).with_suffix(".npz")) as temporary:
        np.savez(temporary, **arrays)


def read_ranks(path: str | os.PathLike[str], split: str = "test") -> Ranks:
    """Ranks of a `.npz` file, or of `{split}_ranks.npz` in a run folder. UserError otherwise."""
    path = Path(path)
    file = path / f"{split}_ranks.npz" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"No ranks {file}: write them with `python -m vse_exp.evaluate checkpoint=… "
            f"split={split} ranks={file}`."
        )
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is no complete .npz file of ranks: write it again.") from error
    every = "annotation_wrong" in found
    names = [f"{side}_{part}" for side in ("annotation", "search") for part in ANSWERS]
    for key in (*KEYS, *(names if every else ())):
        if key not in found:
            raise UserError(f"{file} holds no {key}: it is no file of ranks.")
        if found[key].ndim != 1 or found[key].dtype.kind not in ("iufb" if key in names else "iu"):
            raise UserError(
                f"{key} in {file} is {found[key].dtype} of shape {found[key].shape}, and should be "
                "whole numbers in one dimension."
            )
    annotation, search, caption_image = (found[key].astype(np.int64) for key in KEYS)
    protocol = str(found.get("protocol", ""))
    if every:
        both = [
            Answers(**{part: found[f"{side}_{part}"] for part in ANSWERS}, every=True)
            for side in ("annotation", "search")
        ]
        if all(answers.consistent() for answers in both):
            return Ranks(both[0], both[1], protocol)
        raise UserError(f"The right answers in {file} do not fit each other: write it again.")
    _check_map(annotation, search, caption_image)
    return Ranks(Answers.of_first(annotation), Answers.of_first(search, caption_image), protocol)


def write_comparison(
    path: str | os.PathLike[str], compared: Mapping[str, Comparison], about: Mapping[str, Any]
) -> None:
    """Write the figures of two runs as JSON, with what else is known `about` them."""
    figures = {name: asdict(one) | {"difference": one.difference} for name, one in compared.items()}
    write_json(path, {"figures": figures, **about})


def _check_map(annotation: np.ndarray, search: np.ndarray, caption_image: np.ndarray) -> None:
    n_images = len(annotation)
    if len(search) != len(caption_image):
        raise UserError(
            f"{len(search)} search ranks and a caption_image of {len(caption_image)} rows do not "
            "fit: both have one entry a caption."
        )
    least = caption_image.min(initial=0)
    counts = np.bincount(caption_image, minlength=n_images) if least >= 0 else []
    if not len(caption_image) or len(counts) != n_images or not np.all(counts):
        raise UserError(
            f"caption_image does not map captions onto the {n_images} images that have annotation "
            "ranks: write the ranks again with `python -m vse_exp.evaluate`."
        )
