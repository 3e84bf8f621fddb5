"""A gallery as one Parquet file, which databases with vectors and data frames load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.retrieval.gallery import Gallery

ROWS = 1 << 14
"""Items of a row group, which is in memory at once."""


def write_parquet(gallery: Gallery, path: Path) -> None:
    """Write all items of a gallery, the images first, a row each.

    `id` int64; `kind` images or captions; `path` of an image, `text` of a caption; `image`, the id
    of a caption's image where known; `vector`, dim values of float32, to be compared by their inner
    product. UserError without pyarrow, and for similarities that are no inner product.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ModuleNotFoundError as error:
        raise UserError("Parquet needs pyarrow: pip install 'vse_exp[tables]'.") from error
    if not gallery.similarity.inner_product:
        raise UserError("Order violations are no inner product: leave out format=parquet.")
    dim = gallery.items(gallery.kinds[0]).vectors.shape[1]
    known = {key: gallery.about[key] for key in ("fingerprint", "similarity", "source")}
    schema = pa.schema(
        [("id", pa.int64()), ("kind", pa.string()), ("path", pa.string()), ("text", pa.string()),
         ("image", pa.int64()), ("vector", pa.list_(pa.float32(), dim))],
        metadata={"vse_exp": json.dumps(known)},
    )  # fmt: skip
    with atomic_path(path) as unfinished, ParquetWriter(unfinished, schema) as writer:
        for columns, vectors in _groups(gallery):
            flat = pa.array(vectors.reshape(-1), pa.float32())
            column = pa.FixedSizeListArray.from_arrays(flat, dim)
            writer.write(pa.record_batch(columns | {"vector": column}, schema))


def _groups(gallery: Gallery) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Columns but for the vectors, and these, of some rows after another."""
    first = 0
    for kind in gallery.kinds:
        items = gallery.items(kind)
        for start in range(0, len(items), ROWS):
            names = items.names[start : start + ROWS]
            none = [None] * len(names)
            of_images = kind == "images"
            links = None if of_images else gallery.caption_image
            yield (
                {
                    "id": range(first + start, first + start + len(names)),
                    "kind": [kind] * len(names),
                    "path": names if of_images else none,
                    "text": none if of_images else names,
                    "image": none if links is None else links[start : start + ROWS],
                },
                items.vectors[start : start + ROWS].astype(np.float32),
            )
        first += len(items)
