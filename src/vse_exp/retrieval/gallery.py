"""A gallery: the embeddings of images, captions or both in a folder, built once and searched often.

gallery.json     what it is, and the fingerprint of the model that made it
images.npy       embeddings (n_images, dim), float32 or float16;  images.txt  names, one a line
captions.npy     embeddings (n_captions, dim);                    captions.txt
caption_image.npy  the row of each caption's image, where known
images.faiss, captions.faiss  indices for approximate search, where asked for (see ann.py)

A folder of such folders, 0-of-8 to 7-of-8, is one gallery too, each share searched by itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from vse_exp.errors import UserError
from vse_exp.evaluation.neighbours import best_captions, best_images
from vse_exp.evaluation.rows import as_rows
from vse_exp.files import MAX_RECORD, read_json, read_text
from vse_exp.images.features import open_features
from vse_exp.images.provenance import require_compatible
from vse_exp.models.dual import DualEncoder
from vse_exp.retrieval.ann import AnnIndex
from vse_exp.retrieval.items import Hit, Items, JoinedItems
from vse_exp.retrieval.search import Hits, best_of, search
from vse_exp.similarity import Similarity, find_similarity

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


def open_gallery(path: str | os.PathLike[str], model: DualEncoder | None = None) -> Gallery:
    """Open a gallery's folder; its embeddings are memory-mapped.

    UserError where it is missing, broken, or was built with another model than `model`.
    """
    path = Path(path)
    if not os.path.isfile(path / ABOUT):
        if shares := _shares(path):
            return _open_shares(shares, model)
        raise UserError(
            f"No gallery in {path}: build one with "
            f"`python -m vse_exp.index checkpoint=… data=… split=… output={path}`."
        )
    try:
        about = read_json(path / ABOUT, MAX_RECORD)
        if about["version"] != VERSION:
            raise ValueError(f"of version {about['version']}, and this program reads {VERSION}")
        _check_about(about)
        device = None if model is None else search_device(model)
        kinds: dict[Kind, Items] = {
            kind: _open_items(path, kind, about, device) for kind in KINDS if kind in about
        }
        links = _open_links(path, kinds)
        gallery = Gallery(
            about, _similarity(about, model), kinds.get("images"), kinds.get("captions"), links
        )
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise UserError(f"The gallery {path} is broken ({error}): build it again.") from error
    if model is not None:
        gallery.check_model(model)
    return gallery


def is_gallery(path: str | os.PathLike[str]) -> bool:
    """Whether a gallery, or shares of one, lie in a folder."""
    return (Path(path) / ABOUT).is_file() or bool(_shares(Path(path)))


def _shares(path: Path) -> list[Path]:
    try:
        return [file.parent for file in path.glob(f"*-of-*/{ABOUT}")]
    except OSError:  # of a folder that may not be looked into
        return []


def _open_shares(shares: Sequence[Path], model: DualEncoder | None) -> Gallery:
    """The gallery of all shares of an index. UserError where one is missing."""
    count = shares[0].name.rpartition("-")[2]
    wanted = [f"{number}-of-{count}" for number in range(int(count) if count.isdecimal() else 0)]
    if sorted(wanted) != sorted(share.name for share in shares):
        missing = sorted({*wanted} - {share.name for share in shares})
        what = f"lacks {missing[0]}" if missing else "holds shares of several jobs"
        raise UserError(
            f"The gallery {shares[0].parent} {what}: give the command of each share once more."
        )
    return joined_galleries([open_gallery(shares[0].with_name(name), model) for name in wanted])


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


def _check_about(about: Mapping[str, Any]) -> None:
    """ValueError for values of another type than those that are written."""
    texts = ("fingerprint", "similarity", "source")
    if not all(isinstance(about[key], str) for key in texts):
        raise ValueError(f"{', '.join(texts)} of {ABOUT} must be texts")
    places = about["pictures"]
    several = isinstance(places, list) and all(isinstance(place, str) for place in places)
    if not (places is None or isinstance(places, str) or several):
        raise ValueError(f"pictures of {ABOUT} must be a place, or a list of them")
    if not isinstance(about["provenance"], dict | None):
        raise ValueError(f"provenance of {ABOUT} must be a record")


def _similarity(about: Mapping[str, Any], model: DualEncoder | None) -> Similarity:
    """The model's; without one ours of that name."""
    return find_similarity(about["similarity"]) if model is None else model.similarity


def _open_items(
    path: Path, kind: Kind, about: Mapping[str, Any], device: torch.device | None
) -> Items:
    names = read_text(path / f"{kind}.txt").split("\n")[:-1]
    vectors = open_features(path / f"{kind}.npy")
    if vectors.ndim != 2 or not len(names) == len(vectors) == about[kind]["count"]:
        raise ValueError(f"{kind}.txt, {kind}.npy and {ABOUT} disagree about their number")
    index = path / f"{kind}.faiss"
    described = about[kind].get("index")
    return Items(names, vectors, AnnIndex(described, path=index) if described else None, device)


def _open_links(path: Path, kinds: Mapping[Kind, Items]) -> np.ndarray | None:
    """The row of each caption's image."""
    file = path / "caption_image.npy"
    if not file.is_file():
        return None
    links = np.load(file, allow_pickle=False)
    n_images, n_captions = (len(kinds[kind]) for kind in KINDS)
    if links.shape != (n_captions,) or links.dtype.kind not in "iu":
        raise ValueError("caption_image.npy must hold a whole number for each caption")
    if links.min() < 0 or links.max() >= n_images:
        raise ValueError("caption_image.npy names an image that is not there")
    return links
