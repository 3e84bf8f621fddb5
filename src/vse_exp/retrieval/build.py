"""Building galleries: embed what they hold, block by block, and put the folder in place whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import as_lines, new_folder, write_json, write_rows, write_text
from vse_exp.images.pictures import given_images
from vse_exp.images.rows import Stretch
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
    search_device,
)
from vse_exp.retrieval.opening import open_gallery
from vse_exp.sharding import Shard, joined_rows, put_rows

BLOCK_CAPTIONS = 1 << 16
BATCHES = 16
"""Batches of images that a share keeps in one file."""


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
    embedded: Mapping[Kind, Iterable[np.ndarray]] | None = None,
) -> Gallery:
    """Embed images and captions into a gallery.

    In memory without `output`, else in that folder, which appears when it is complete. Images
    are features (n_images, dim_image), an array (memory-mapped too) or ImageFeatures, or
    PictureRows for a model that takes pictures; without names they are called by their row. `half`
    keeps embeddings as float16; `ann` adds indices for approximate search; `embedded` are the
    embeddings, in blocks of rows, where they have been made. Raises UserError where there is
    nothing to embed, where names do not fit, and where `output` exists.
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
        made = embedded or {}
        if rows is not None:
            blocks = made.get("images") or model.image_blocks(rows, verbose=verbose)
            vectors = stored(folder, "images", len(rows), blocks)
            found["images"] = Items(called, vectors, device=search_device(model))
        if captions is not None:
            names = _lines(captions)
            parts = track(_parts(len(names), BLOCK_CAPTIONS), "embedding captions", verbose)
            blocks = made.get("captions") or (model.encode_sentences(names[part]) for part in parts)
            vectors = stored(folder, "captions", len(names), blocks)
            found["captions"] = Items(names, vectors, device=search_device(model))
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
    return open_gallery(output, model)


def build_share(
    model: DualEncoder,
    output: Path,
    shard: Shard,
    job: Any,
    *,
    images: Any = None,
    captions: Sequence[str] | None = None,
    verbose: bool = False,
    **keys: Any,
) -> Gallery | None:
    """The same by several processes, each of which embeds its share: None while others are missing,
    else the gallery of them all, whose rows are to the byte those of one process.

    `job` tells it from all others. What an earlier run of the same share has embedded is kept.
    """
    folder = shard.folder(output, [model.fingerprint(), str(model.autocast), job])
    files: dict[Kind, list[str]] = {}

    def share(kind: Kind, count: int, step: int, embed: Callable[[slice], np.ndarray]) -> None:
        parts = _parts(count, step)
        files[kind] = [f"{kind}-{number}.npy" for number in range(len(parts))]
        task = f"embedding {kind}"

        def blocks(chosen: range) -> Iterator[np.ndarray]:
            return (embed(parts[number]) for number in track(chosen, task, verbose))

        shard.write(folder, files[kind], blocks, put_rows)

    if images is not None:
        rows = images = given_images(images, model.preprocessing)

        def of_images(part: slice) -> np.ndarray:
            return np.concatenate(list(model.image_blocks(Stretch(rows, part))))

        share("images", len(rows), BATCHES * model.images_at_once, of_images)
    if captions is not None:
        lines = _lines(captions)
        share("captions", len(lines), BLOCK_CAPTIONS, lambda p: model.encode_sentences(lines[p]))
    with shard.last(folder, [name for each in files.values() for name in each]) as whole:
        if not whole:
            return None
        embedded: dict[Kind, Iterable[np.ndarray]] = {
            kind: joined_rows([folder / one for one in names]) for kind, names in files.items()
        }
        return build_gallery(
            model, output, images=images, captions=captions, embedded=embedded, **keys
        )


def _lines(captions: Sequence[str]) -> list[str]:
    return [" ".join(caption.splitlines()) for caption in captions]


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
    return replace(items, index=AnnIndex.build(items.vectors, ann, other.vectors))


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
