"""Looking inside a split's results: why single pairs have their scores, and where all rows lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.models.dual import DualEncoder
from vse_exp.progress import track
from vse_exp.retrieval.captioning import PictureFeatures
from vse_exp.retrieval.pictures import Thumbnails
from vse_exp.retrieval.reasons import (
    EncodePictures,
    pair_score,
    region_effects,
    word_effects,
)

Projection = Literal["pca", "umap"]
MOST_IMAGES = 1500
"""Images on a map; of more, that many at even distances."""


def chosen_pairs(results: Mapping[str, Any], count: int) -> set[tuple[int, int]]:
    """(image, caption) of what is best, and of what is right, for `count` queries of each
    direction at even distances. `results`: what `single_results` returns, with `caption_image`."""
    annotation, search = results["annotation"]["items"], results["search"]["items"]
    owner, places = np.array(results["caption_image"]), np.array(results["places"])
    pairs: set[tuple[int, int]] = set()
    for image in evenly(len(annotation), count):
        own = np.flatnonzero(owner == image)
        pairs.add((image, annotation[image][0]))
        pairs.update((image, int(one)) for one in own[places[own].argsort(kind="stable")[:1]])
    for caption in evenly(len(search), count):
        pairs |= {(search[caption][0], caption), (int(owner[caption]), caption)}
    return pairs


def evenly(total: int, count: int) -> list[int]:
    """At most `count` of the numbers below `total`, at even distances."""
    return sorted({int(row) for row in np.linspace(0, total - 1, min(total, count)).round()})


def reasons_for(
    pairs: Iterable[tuple[int, int]],
    model: DualEncoder,
    split: Split,
    images: np.ndarray,
    captions: np.ndarray,
    thumbnails: Thumbnails | None,
) -> dict[str, Any]:
    """For each (image, caption), as "image,caption": the score, what it loses without each word,
    and without each part of the picture (None where there is no picture)."""
    by_image: dict[int, list[int]] = {}
    for image, caption in sorted(pairs):
        by_image.setdefault(image, []).append(caption)
    encode, found = _encode_pictures(model, split), {}
    for image, beside in track(list(by_image.items()), "looking inside"):
        vector, rows = images[image : image + 1], captions[beside]
        picture = thumbnails.picture(image) if thumbnails is not None and encode else None
        regions: list[Any] = [None] * len(beside)
        if picture is not None and encode is not None:
            regions = region_effects(encode, picture, rows, model.similarity).round(4).tolist()
        for caption, row, seen in zip(beside, rows, regions, strict=True):
            sentence = split.captions[caption]
            words, lost = word_effects(model.encode_sentences, sentence, vector, model.similarity)
            found[f"{image},{caption}"] = {
                "score": pair_score(model.similarity, vector, row[None]),
                "words": list(zip(words, lost[0].round(4).tolist(), strict=True)),
                "regions": seen,
            }
    return found


def _encode_pictures(model: DualEncoder, split: Split) -> EncodePictures | None:
    """From pictures to embeddings; None where nothing says how features are made of them."""
    if model.takes_pictures:
        return model.encode_images
    try:
        features = PictureFeatures(split.provenance or model.provenance)
        features([])  # says whether its backbone can be had
    except UserError as error:
        print(f"Regions are left out: {error}")
        return None
    return lambda pictures: model.encode_images(features(pictures))


def draw_map(
    images: np.ndarray, captions: np.ndarray, caption_image: np.ndarray, method: Projection
) -> dict[str, Any]:
    """Places in the plane of MOST_IMAGES images and of their captions, for the page's script.

    `pca`: the two directions of most variance of both together; `umap`: McInnes, Healy, Melville,
    "UMAP: Uniform manifold approximation and projection" (2018), by cosine.
    """
    rows = np.array(evenly(len(images), MOST_IMAGES))
    chosen = np.flatnonzero(np.isin(caption_image, rows))
    both = np.concatenate([images[rows], captions[chosen]]).astype(np.float64)
    places, about = (_pca if method == "pca" else _umap)(both)
    places -= (places.max(0) + places.min(0)) / 2
    places /= max(np.abs(places).max(), 1e-12)
    return {
        "about": about,
        "image_rows": rows.tolist(),
        "caption_rows": chosen.tolist(),
        "owners": np.searchsorted(rows, caption_image[chosen]).tolist(),
        "places": places.round(4).tolist(),
    }


def _pca(rows: np.ndarray) -> tuple[np.ndarray, str]:
    rows = rows - rows.mean(0)
    values, directions = np.linalg.eigh(rows.T @ rows)
    directions = directions[:, -1:-3:-1]
    # of either sign that one whose largest entry is positive, so that a map is the same tomorrow
    directions *= np.sign(directions[np.abs(directions).argmax(0), range(directions.shape[1])])
    share = 100 * values[-2:].sum() / max(values.sum(), 1e-12)
    return rows @ directions, f"PCA: two directions with {share:.0f} % of the variance"


def _umap(rows: np.ndarray) -> tuple[np.ndarray, str]:
    try:
        import umap
    except ImportError as error:
        raise UserError("map=umap needs umap-learn: pip install 'vse_exp[map]'.") from error
    neighbours = min(15, len(rows) - 1)
    found = umap.UMAP(n_neighbors=neighbours, metric="cosine", random_state=0, n_jobs=1)
    return np.array(found.fit_transform(rows), np.float64), f"UMAP: {neighbours} neighbours, cosine"
