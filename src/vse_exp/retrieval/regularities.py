"""Image - word + word: arithmetic in the common space (Kiros et al. 2014, section 3.2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vse_exp.errors import UserError
from vse_exp.models.dual import DualEncoder
from vse_exp.retrieval.gallery import Gallery, Hit


class Regularity(NamedTuple):
    """Rows of the gallery, best first, and their scores, both (k,)."""

    items: np.ndarray
    scores: np.ndarray

    def hits(self, gallery: Gallery) -> list[Hit]:
        """With the names of that gallery's images, as `vse_exp.show` takes them."""
        names = gallery.items("images").names
        return [
            Hit(int(item), float(score), names[item])
            for item, score in zip(self.items, self.scores, strict=True)
        ]


def regularities(
    model: DualEncoder,
    image: Any,
    negative: str,
    positive: str,
    gallery: Any,
    k: int = 10,
    rerank: bool = False,
) -> Regularity:
    """The `k` gallery images nearest to `image - negative + positive`, e.g. day, night.

    `image` is a feature vector (dim_image,), `gallery` the vectors (n, dim) that `encode_images`
    made. `rerank` orders the `k` found by their cosine with their mean instead, which puts those
    last that are unlike the others (the original's regularities). Raises UserError where sizes do
    not fit, and where nothing is left of the query.
    """
    gallery = np.asarray(gallery, dtype=np.float32)
    if gallery.ndim != 2 or gallery.shape[1] != model.dim:
        raise UserError(
            f"The gallery has shape {gallery.shape}, and the model's vectors have "
            f"{model.dim} values: embed it with model.encode_images."
        )
    if k < 1:
        raise UserError(f"k is {k}: ask for at least one image.")
    image_vector = model.encode_images(np.asarray(image)[None])[0]
    taken, given = model.encode_sentences([negative, positive])
    scores = gallery @ _unit(image_vector - taken + given)
    items = _best(scores, k)
    if rerank:
        scores = gallery[items] @ _unit(gallery[items].mean(0))
        order = _best(scores, k)
        return Regularity(items[order], scores[order])
    return Regularity(items, scores[items])


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vector)
    if not norm > 0:
        raise UserError("The query has no direction: image, words and results cancel out.")
    return vector / norm


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the `k` largest; of equal ones the lower first."""
    return np.argsort(-scores, kind="stable")[:k]
