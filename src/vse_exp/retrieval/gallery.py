"""A gallery: the embeddings of images, captions or both in a folder, built once and searched often.

gallery.json     what it is, and the fingerprint of the model that made it
images.npy       embeddings (n_images, dim), float32 or float16;  images.txt  names, one a line
captions.npy     embeddings (n_captions, dim);                    captions.txt
caption_image.npy  the row of each caption's image, where known
images.faiss, captions.faiss  indices for approximate search, where asked for (see ann.py)

A folder of such folders, 0-of-8 to 7-of-8, is one gallery too, each share searched by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch

from vse_exp.errors import UserError
from vse_exp.evaluation.neighbours import best_captions, best_images
from vse_exp.evaluation.rows import as_rows
from vse_exp.images.provenance import require_compatible
from vse_exp.models.dual import DualEncoder
from vse_exp.retrieval.items import Hit, Items, JoinedItems
from vse_exp.retrieval.search import Hits, best_of, search
from vse_exp.similarity import Similarity

VERSION = 1
ABOUT = "gallery.json"
Kind = Literal["images", "captions"]
KINDS: tuple[Kind, Kind] = ("images", "captions")


@dataclass(frozen=True)
class Gallery:
    """Embedded images and captions, and what is known about them.

    `about` is the content of gallery.json: `fingerprint` and `similarity` of the model, `source`
    (a data set and split, or files), `pictures` (where the images' files lie) and `provenance` (how
    their features were made), the last two None where not known.
    """

    about: Mapping[str, Any]
    similarity: Similarity
    images: Items | None = None
    captions: Items | None = None
    caption_image: np.ndarray | None = None

    def items(self, kind: Kind) -> Items:
        """The images or captions; UserError where the gallery has none."""
        items = self.images if kind == "images" else self.captions
        if items is None:
            raise UserError(f"The gallery holds no {kind}: build one with {kind}.")
        return items

    @property
    def kinds(self) -> list[Kind]:
        """What it holds."""
        return [kind for kind in KINDS if getattr(self, kind) is not None]

    def check_model(self, model: DualEncoder) -> None:
        """UserError where the gallery was built with another model than this."""
        ours = model.fingerprint()
        if ours != self.about["fingerprint"]:
            raise UserError(
                f"The gallery was built with another model (fingerprint "
                f"{self.about['fingerprint'][:12]}, this model's is {ours[:12]}): build it again "
                "with `python -m vse_exp.index checkpoint=… output=… overwrite=true`."
            )

    def search(
        self, queries: np.ndarray, query_kind: Kind, kind: Kind, k: int = 10, exact: bool = False
    ) -> Hits:
        """The `k` best images or captions (`kind`) of embeddings (n_queries, dim) of `query_kind`.

        Uses the index for approximate search where there is one, unless `exact`.
        """
        pieces = self.items(kind).pieces
        found = [self._search(piece, queries, query_kind, kind, k, exact) for piece in pieces]
        return best_of(found, [len(piece) for piece in pieces], k)

    def _search(
        self, items: Items, queries: np.ndarray, query_kind: Kind, kind: Kind, k: int, exact: bool
    ) -> Hits:
        if items.index is not None and not exact:
            return items.index.search(queries, k)
        asked = as_rows(queries, "queries").to(items.device)
        if not self.similarity.inner_product and query_kind != kind:
            find = best_images if kind == "images" else best_captions
            pair = (items.searched, asked) if kind == "images" else (asked, items.searched)
            scores, rows = find(*pair, k, self.similarity)
            return Hits(scores.cpu().numpy(), rows.cpu().numpy())
        return search(asked, items.searched, k)

    def named(self, hits: Hits, kind: Kind) -> list[list[Hit]]:
        """The hits of each query with their names; places that an index left empty are dropped."""
        names = self.items(kind).names
        return [
            [
                Hit(item, score, names[item])
                for item, score in zip(items, scores, strict=True)
                if item >= 0
            ]
            for scores, items in zip(hits.scores.tolist(), hits.items.tolist(), strict=True)
        ]


def joined_galleries(galleries: Sequence[Gallery]) -> Gallery:
    """Galleries of one model as one, their items one after the other and searched by the piece."""
    first, *others = galleries
    for other in others:
        if other.about["fingerprint"] != first.about["fingerprint"]:
            raise UserError("The galleries were built with different models: index them with one.")
        require_compatible(first.about["provenance"], other.about["provenance"], allow=False)
    held: dict[Kind, Items] = {}
    for kind in KINDS:
        if pieces := [one.items(kind) for one in galleries if kind in one.kinds]:
            held[kind] = JoinedItems(pieces)
    starts = np.cumsum([0, *(len(one.images or ()) for one in galleries)])
    links = [
        one.caption_image + start
        for one, start in zip(galleries, starts, strict=False)
        if one.caption_image is not None
    ]
    known = all(one.caption_image is not None for one in galleries if one.captions is not None)
    places = [one.about["pictures"] for one in galleries]
    several = dict.fromkeys(
        chain.from_iterable([each] if isinstance(each, str) else each or [] for each in places)
    )
    about = {
        **first.about,
        "source": ", ".join(dict.fromkeys(one.about["source"] for one in galleries)),
        "pictures": [*several] if len(several) > 1 else next(iter(several), None),
        **{kind: {"count": len(items)} for kind, items in held.items()},
    }
    return Gallery(
        about,
        first.similarity,
        held.get("images"),
        held.get("captions"),
        np.concatenate(links) if links and known else None,
    )


def search_device(model: DualEncoder) -> torch.device | None:
    """Where vectors of a model are searched; None: on the CPU, as ranks are for Apple's GPUs."""
    return model.device if model.device.type not in ("cpu", "mps") else None
