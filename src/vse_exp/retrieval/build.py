"""Building galleries: embed what they hold, block by block, and put the folder in place whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import as_lines, new_folder, write_json, write_rows, write_text
from vse_exp.images.pictures import given_images
from vse_exp.models.dual import DualEncoder
from vse_exp.progress import track
from vse_exp.retrieval.ann import AnnIndex, AnnOptions
from vse_exp.retrieval.gallery import (
    ABOUT,
    KINDS,
    VERSION,
    Gallery,
    Items,
    Kind,
    open_gallery,
)

BLOCK_CAPTIONS = 1 << 16


def build_gallery(
    model: DualEncoder,
    output: str | os.PathLike[str] | None = None,
    *,
    images: Any = None,
    image_names: Sequence[str] | None = None,
    captions: Sequence[str] | None = None,
    caption_image: np.ndarray | None = None,
    source: str = "",
    pictures: str | list[str] | None = None,
    provenance: dict[str, Any] | None = None,
    half: bool = False,
    ann: AnnOptions | None = None,
    overwrite: bool = False,
    verbose: bool = False,
) -> Gallery:
    """Embed images and captions into a gallery.

    In memory without `output`, else in that folder, which appears when it is complete. Images
    are features (n_images, dim_image), an array (memory-mapped too) or ImageFeatures, or
    PictureRows for a model that takes pictures; without names they are called by their row. `half`
    keeps embeddings as float16; `ann` adds indices for approximate search. Raises UserError
    where there is nothing to embed, where names do not fit, and where `output` exists.
    """
    if images is None and captions is None:
        raise UserError("There is nothing to put into the gallery: give images or captions.")
    if ann is not None and not model.similarity.inner_product:
        raise UserError("Order violations have no index for approximate search: leave out ann.")
    rows = None if images is None else given_images(images, model.preprocessing)
    called = [] if rows is None else _checked_names(image_names, len(rows))
    about: dict[str, Any] = {
        "version": VERSION,
        "fingerprint": model.fingerprint(),
        "similarity": type(model.similarity).__name__.lower(),
        "source": source,
        "pictures": pictures,
        "provenance": provenance or model.provenance,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    shape, dtype = (model.dim,), np.dtype("<f2" if half else "<f4")

    def stored(folder: Path | None, kind: Kind, count: int, blocks: Iterable[np.ndarray]) -> Any:
        if folder is None:
            return np.concatenate([block.astype(dtype) for block in blocks])
        path = folder / f"{kind}.npy"
        write_rows(path, (count, *shape), dtype, blocks)
        return np.load(path, mmap_mode="r")

    def embed(folder: Path | None) -> Gallery:
        found: dict[Kind, Items] = {}
        if rows is not None:
            blocks = model.image_blocks(rows, verbose=verbose)
            found["images"] = Items(called, stored(folder, "images", len(rows), blocks))
        if captions is not None:
            names = [" ".join(caption.splitlines()) for caption in captions]
            parts = track(_parts(len(names), BLOCK_CAPTIONS), "embedding captions", verbose)
            blocks = (model.encode_sentences(names[part]) for part in parts)
            found["captions"] = Items(names, stored(folder, "captions", len(names), blocks))
        if ann is not None:
            found = {kind: _indexed(found, kind, ann) for kind in found}
        for kind, items in found.items():
            about[kind] = {"count": len(items), "dtype": str(items.vectors.dtype)}
            if items.index is not None:
                about[kind]["index"] = items.index.about
        return Gallery(about, model.similarity, caption_image=caption_image, **found)

    if output is None:
        return embed(None)
    with new_folder(output, overwrite, mark=ABOUT) as folder:
        _write(embed(folder), folder)
    return open_gallery(output)


def _checked_names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"image {row}" for row in range(count)]
    if len(names) != count:
        raise UserError(
            f"There are {len(names)} image names and {count} rows of features: give a name a row."
        )
    for row, name in enumerate(names):
        if "\n" in name:
            raise UserError(f"The image name in row {row} holds a line break: rename that file.")
    return list(names)


def _parts(count: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _indexed(found: dict[Kind, Items], kind: Kind, ann: AnnOptions) -> Items:
    """The same with an index, measured on queries of the other kind where there are any."""
    items = found[kind]
    other = found.get(KINDS[1 - KINDS.index(kind)], items)
    return Items(items.names, items.vectors, AnnIndex.build(items.vectors, ann, other.vectors))


def _write(gallery: Gallery, folder: Path) -> None:
    """All but the embeddings, which are there."""
    for kind in gallery.kinds:
        items = gallery.items(kind)
        write_text(folder / f"{kind}.txt", as_lines(items.names))
        if items.index is not None:
            items.index.write(folder / f"{kind}.faiss")
    if gallery.caption_image is not None:
        np.save(folder / "caption_image.npy", gallery.caption_image)
    write_json(folder / ABOUT, gallery.about)
