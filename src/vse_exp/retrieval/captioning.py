"""Captions for an image, images for a sentence, and what is like either: search with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.images.decoding import Picture, open_picture
from vse_exp.models.dual import DualEncoder
from vse_exp.retrieval.gallery import Gallery, Hit, Kind
from vse_exp.runtime import Runtime


class Retriever:
    """A model and a gallery that was built with it.

    `weights`: where the weights of the image backbone lie now, if elsewhere than recorded.
    """

    def __init__(self, model: DualEncoder, gallery: Gallery, weights: str | None = None) -> None:
        self.model = model
        self.gallery = gallery
        self.weights = weights

    def captions(self, query: Any, k: int = 5, exact: bool = False) -> list[Hit]:
        """The `k` best captions for a query (see `embed`), best first."""
        return self.find([query], "captions", k, exact)[0]

    def images(self, query: Any, k: int = 5, exact: bool = False) -> list[Hit]:
        """The `k` best images for a query (see `embed`), best first."""
        return self.find([query], "images", k, exact)[0]

    def find(
        self, queries: Sequence[Any], kind: Kind, k: int, exact: bool = False
    ) -> list[list[Hit]]:
        """The `k` best images or captions (`kind`) of each query, all of them searched at once."""
        found: list[list[Hit]] = [[] for _ in queries]
        kinds: list[Kind] = [query_kind(query) for query in queries]
        for own in dict.fromkeys(kinds):
            chosen = [i for i, other in enumerate(kinds) if other == own]
            rows = self.embed([queries[i] for i in chosen])
            hits = self.gallery.search(rows, own, kind, k, exact)
            for i, named in zip(chosen, self.gallery.named(hits, kind), strict=True):
                found[i] = named
        return found

    def embed(self, queries: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, dim) of queries that are all of one type: sentences (str), pictures (open,
        paths, or contents of files), or image features (dim_image,)."""
        if isinstance(queries[0], str):
            return self.model.encode_sentences(queries)
        if isinstance(queries[0], np.ndarray):
            return self.model.encode_images(np.stack(queries))
        if self.model.takes_pictures:
            return self.model.encode_images(queries)
        return self.model.encode_images(self.picture_features(queries))

    @cached_property
    def picture_features(self) -> PictureFeatures:
        """From pictures to features like those of the gallery's images."""
        provenance = self.gallery.about["provenance"] or self.model.provenance
        return PictureFeatures(provenance, self.weights, self.model.runtime)


class PictureFeatures:
    """Pictures to image features, made as `provenance` says; the backbone is loaded only once."""

    def __init__(
        self,
        provenance: Mapping[str, Any] | None,
        weights: str | None = None,
        runtime: Runtime = "torch",
    ) -> None:
        if provenance is None:
            raise UserError(
                "Neither the model nor the gallery records how its image features were made, so a "
                "picture cannot be a query: extract features with `python -m vse_exp.extract`, or "
                "build the gallery with provenance=FILE_features.json."
            )
        self.provenance = dict(provenance)
        self.weights = weights
        self.runtime: Runtime = runtime

    def __call__(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Features (n, dim_image) float32. UserError for a picture that cannot be read."""
        if self.provenance["backbone"] == "scenes":
            from vse_exp.data.scenes.descriptor import describe

            return describe([open_picture(picture) for picture in pictures])
        from vse_exp.images.encoding import picture_features

        unit_norm = bool(self.provenance.get("unit_norm", True))
        return picture_features(self._backbone, pictures, unit_norm)

    @cached_property
    def _backbone(self) -> Any:
        from vse_exp.images.encoding import backbone_of

        return backbone_of(self.provenance, self.weights, self.runtime)


def query_kind(query: Any) -> Kind:
    """Sentences are searched with as captions are, pictures and features as images."""
    return "captions" if isinstance(query, str) else "images"


def retrieve_captions(model: DualEncoder, gallery: Gallery, image: Any, k: int = 5) -> list[Hit]:
    """The `k` best captions of the gallery for an image, best first (the original's demo.py).

    `image`: a picture's path, an open picture, the content of its file, or its features
    (dim_image,).
    """
    return Retriever(model, gallery).captions(Path(image) if isinstance(image, str) else image, k)


def retrieve_images(model: DualEncoder, gallery: Gallery, sentence: str, k: int = 5) -> list[Hit]:
    """The `k` best images of the gallery for a sentence, best first."""
    return Retriever(model, gallery).images(sentence, k)
