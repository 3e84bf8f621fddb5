"""ECCV Caption and CxC: more right answers for COCO's test captions, where `eccv_caption` is there.

Chun et al. 2022 (ECCV) and Parekh et al. 2021 (CrissCrossed Captions); the package holds the
ground truths. COCO's own figures are left to `protocols`, which count ranks exactly.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import Tensor

from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import RECALLS
from vse_exp.evaluation.neighbours import best_captions, best_images
from vse_exp.evaluation.rows import rows_of_both
from vse_exp.files import read_lines
from vse_exp.similarity import SimilarityLike

NAMES = {
    "eccv_r1": "eccv_{}R@1",
    "eccv_rprecision": "eccv_{}R-Precision",
    "eccv_map_at_r": "eccv_{}mAP@R",
    **{f"cxc_r{k}": f"cxc_{{}}R@{k}" for k in RECALLS},
}


def eccv_metrics(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    image_ids: Sequence[int] | np.ndarray,
    caption_ids: Sequence[int] | np.ndarray,
    similarity: SimilarityLike = "cosine",
) -> dict[str, float]:
    """`eccv_aR@1`, `eccv_aR-Precision`, `eccv_amAP@R`, `cxc_aR@1` … and those of search (`s`).

    All in percent. `image_ids` and `caption_ids` are COCO's own (annotation ids of captions), one
    a row. Captions of the Karpathy split beyond five an image are left out, as the benchmark does.
    Raises UserError where `eccv_caption` is not installed or ids of its queries are missing.
    """
    truth = _benchmark()
    images, captions = rows_of_both(images, captions)
    image_ids, caption_ids = np.asarray(image_ids), np.asarray(caption_ids)
    _check_ids(image_ids, images, "image")
    _check_ids(caption_ids, captions, "caption")
    known = np.flatnonzero(np.isin(caption_ids, np.asarray(truth.coco_ids)))
    if len(known) < len(caption_ids):
        captions, caption_ids = captions[known.tolist()], caption_ids[known]
    _check_queries(truth, image_ids, caption_ids)
    retrieved_captions = best_captions(images, captions, _depth(truth, "i2t"), similarity)[1]
    retrieved_images = best_images(images, captions, _depth(truth, "t2i"), similarity)[1]
    # its progress bars cannot be turned off
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        found = truth.compute_all_metrics(
            _lists(image_ids, caption_ids, retrieved_captions),
            _lists(caption_ids, image_ids, retrieved_images),
            target_metrics=("eccv_r1", "eccv_rprecision", "eccv_map_at_r", "cxc_recalls"),
            Ks=RECALLS,
            verbose=False,
        )
    return {
        name.format(letter): 100.0 * float(found[theirs][direction])
        for letter, direction in (("a", "i2t"), ("s", "t2i"))
        for theirs, name in NAMES.items()
    }


def eccv_applies(data: str, split: Split) -> bool:
    """Whether these figures can be had: of COCO's test set, with ids of its captions and the
    package there."""
    if data != "coco" or split.name != "test" or not split.files.caption_ids.is_file():
        return False
    return find_spec("eccv_caption") is not None


def coco_ids(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """COCO's ids of a split's images (n_images,), from the numbers that end their file names, and
    of its captions (n_captions,), from the file that `python -m vse_exp.prepare` writes.

    UserError where the file or `eccv_caption` is missing, and where ids of its queries are.
    """
    path = split.files.caption_ids
    if split.image_names is None or not path.is_file():
        raise UserError(
            f"ECCV Caption needs {path} and the images' names: make the data set of COCO's or "
            "Karpathy's JSON by `python -m vse_exp.prepare`."
        )
    captions = read_lines(path)
    if len(captions) != len(split.captions):
        raise UserError(
            f"{path} has {len(captions)} lines for {len(split.captions)} captions: make them anew."
        )
    images = [re.search(r"(\d+)(\.\w+)?$", name) for name in split.image_names]
    for name, found in zip(split.image_names, images, strict=True):
        if found is None:
            raise UserError(f"{name}: no COCO image id, a number, ends this name.")
    image_ids = np.array([int(found[1]) for found in images if found is not None])
    try:
        caption_ids = np.array([int(number) for number in captions])
    except ValueError as error:
        raise UserError(f"{path}: {error}; it needs a number a line.") from error
    _check_queries(_benchmark(), image_ids, caption_ids)
    return image_ids, caption_ids


def _benchmark() -> Any:
    try:
        with warnings.catch_warnings():  # it tells of speed-ups that are not installed
            warnings.simplefilter("ignore")
            return import_module("eccv_caption").Metrics()
    except ImportError as error:
        raise UserError(
            "ECCV Caption and CxC need the package eccv_caption: pip install eccv_caption."
        ) from error


def _check_ids(ids: np.ndarray, rows: Tensor, what: str) -> None:
    if ids.shape != (len(rows),) or len(np.unique(ids)) != len(ids):
        raise UserError(
            f"{len(rows)} {what}s need as many different {what} ids, and there are "
            f"{len(np.unique(ids))} in an array of shape {ids.shape}."
        )


def _check_queries(truth: Any, image_ids: np.ndarray, caption_ids: np.ndarray) -> None:
    """UserError where some query of the ground truths is not among these."""
    for direction, ids, what in (("i2t", image_ids, "image"), ("t2i", caption_ids, "caption")):
        queries = {*truth.eccv_gts[direction], *truth.cxc_gts[direction]}
        missing = sorted(queries.difference(ids.tolist()))
        if missing:
            raise UserError(
                f"{len(missing)} of {len(queries)} {what} ids of ECCV Caption and CxC are not "
                f"among those given (such as {missing[0]}): evaluate all of COCO's 5K test set."
            )


def _depth(truth: Any, direction: str) -> int:
    """How many items must be retrieved: as many as a query has right ones at most."""
    rights = [*truth.eccv_gts[direction].values(), *truth.cxc_gts[direction].values()]
    return max(*RECALLS, *(len(set(items)) for items in rights))


def _lists(queries: np.ndarray, items: np.ndarray, best: Tensor) -> dict[int, list[int]]:
    return dict(zip(queries.tolist(), items[best.cpu().numpy()].tolist(), strict=True))
