"""The report of a model on a split: one folder with a page that shows every single result.

The original's results page showed the best caption of each test image; this one shows both
directions, what was right and where the right ones stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.evaluation.blocks import score_blocks
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.evaluator import open_judged
from vse_exp.evaluation.neighbours import best_captions, best_images
from vse_exp.evaluation.protocols import Evaluation, evaluate_embeddings
from vse_exp.evaluation.rows import as_rows
from vse_exp.files import new_folder
from vse_exp.models.dual import DualEncoder
from vse_exp.pages.histogram import rank_counts
from vse_exp.pages.looking import Projection, chosen_pairs, draw_map, reasons_for
from vse_exp.pages.writing import PAGE, page, write_thumbnails
from vse_exp.retrieval.pictures import Thumbnails, open_thumbnails
from vse_exp.similarity import SimilarityLike, find_similarity

IMAGES_AT_ONCE = 64
MAP = "map.html"


def write_report(
    output: str | Path,
    model: DualEncoder,
    split: Split,
    *,
    source: str,
    about: str,
    thumbnails: Thumbnails | None,
    k: int = 5,
    reasons: int = 0,
    projection: Projection | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Evaluate a model on a split and write the folder `output` with `index.html`.

    `k` results of each query are shown, and of `reasons` queries of each direction which words and
    regions count; with `projection` there is a `map.html`. `source` names data set and split,
    `about` the model. UserError where `output` exists and is not a report to be overwritten.
    """
    if k < 1:
        raise UserError(f"k={k}: show at least one result of each query.")
    with new_folder(output, overwrite, mark=PAGE) as folder:
        images, captions = (rows.cpu().numpy() for rows in embed_split(model, split))
        similarity = model.similarity
        result = evaluate_embeddings(images, captions, split.caption_image, similarity=similarity)
        content = single_results(images, captions, split.caption_image, similarity, k, result)
        shown = write_thumbnails(folder, range(len(images)), thumbnails)
        content |= {
            "names": split.image_names or [f"image {row}" for row in range(len(images))],
            "captions": split.captions,
            "caption_image": split.caption_image.tolist(),
            "pictures": shown,
        }
        pairs = chosen_pairs(content, reasons if model.encodes_anything else 0)
        looked = reasons_for(pairs, model, split, images, captions, thumbnails) if pairs else {}
        text = page(
            "report.html.j2",
            title="What the model retrieves",
            source_name=source,
            about=about,
            protocol=f"{source}, {result.protocol}",
            metrics=result.metrics,
            annotation_bars=rank_counts(result.annotation_ranks.numpy()),
            search_bars=rank_counts(result.search_ranks.numpy()),
            map=projection is not None,
            data=content | {"reasons": looked},
        )
        (folder / PAGE).write_text(text, encoding="utf-8")
        if projection is not None:
            places = draw_map(images, captions, split.caption_image, projection)
            text = page("map.html.j2", title="Map", source_name=source, about=about,
                        data=places | _told(content, places))  # fmt: skip
            (folder / MAP).write_text(text, encoding="utf-8")
    return result


def _told(content: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, Any]:
    """What the map says of its points."""
    return {
        "names": [content["names"][row] for row in places["image_rows"]],
        "captions": [content["captions"][row] for row in places["caption_rows"]],
        "pictures": content["pictures"],
    }


def report_from_config(config: Mapping[str, Any], which: Any) -> tuple[Evaluation, str]:
    """The report that the keys in conf/report.yaml ask for, of `which` models or vectors (see
    `open_judged`); and what the split is called."""
    model, split, _, source = open_judged(
        which, config["data"], config["split"], config["device"], config["trust"]
    )
    thumbnails = open_thumbnails(config["pictures"] or split.pictures, split.image_names)
    if thumbnails is None:
        print("No pictures at hand (pictures=… says where they lie): images are shown by name.")
    result = write_report(
        config["output"],
        model,
        split,
        source=source,
        about=f"Model: {model.describe()}",
        thumbnails=thumbnails,
        k=config["k"],
        reasons=config["reasons"],
        projection=config["map"],
        overwrite=config["overwrite"],
    )
    return result, source


def single_results(
    images: np.ndarray,
    captions: np.ndarray,
    caption_image: np.ndarray,
    similarity: SimilarityLike,
    k: int,
    result: Evaluation,
) -> dict[str, Any]:
    """The `k` best of every query with scores, ranks from 1, and where each right caption stands.

    `places`: a caption's place among all for its image; of equal scores the wrong ones come first.
    """
    n_images, n_captions = len(images), len(captions)
    places = np.empty(n_captions, np.int64)
    own_scores = np.empty(n_captions, np.float32)
    by_image = np.argsort(caption_image, kind="stable")
    ends = np.bincount(caption_image, minlength=n_images).cumsum()
    blocks = score_blocks(
        find_similarity(similarity),
        as_rows(images, "images"),
        as_rows(captions, "captions"),
        (IMAGES_AT_ONCE, n_captions),
    )
    for rows, _, block, _ in blocks:
        ascending = block.sort(dim=1).values
        for image, line, row in zip(range(rows.start, rows.stop), ascending, block, strict=True):
            own = by_image[ends[image - 1] if image else 0 : ends[image]]
            mine = row[torch.from_numpy(own)]
            others = (mine[:, None] == mine[None]).sum(1)  # equal ones that are right as well
            places[own] = (n_captions - torch.searchsorted(line, mine) - others + 1).numpy()
            own_scores[own] = mine.numpy()
    return {
        "places": places.tolist(),
        "own_scores": _rounded(own_scores),
        "annotation": _direction(
            result.annotation_ranks, *best_captions(images, captions, k, similarity)
        ),
        "search": _direction(result.search_ranks, *best_images(images, captions, k, similarity)),
    }


def _direction(ranks: Tensor, scores: Tensor, items: Tensor) -> dict[str, Any]:
    found = {"items": items.tolist(), "scores": _rounded(scores.numpy())}
    return {"ranks": (ranks + 1).tolist(), **found}


def _rounded(scores: np.ndarray) -> list[Any]:
    return np.round(scores.astype(np.float64), 4).tolist()
