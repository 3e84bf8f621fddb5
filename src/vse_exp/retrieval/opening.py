"""Galleries opened from their folders, whose files are checked to belong together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vse_exp.errors import UserError
from vse_exp.files import MAX_RECORD, read_json, read_text
from vse_exp.images.features import open_features
from vse_exp.models.dual import DualEncoder
from vse_exp.retrieval.ann import AnnIndex
from vse_exp.retrieval.gallery import (
    ABOUT,
    KINDS,
    VERSION,
    Gallery,
    Kind,
    joined_galleries,
    search_device,
)
from vse_exp.retrieval.items import Items
from vse_exp.similarity import Similarity, find_similarity


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
