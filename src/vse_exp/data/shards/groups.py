"""Parquet files, a row group at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.data.annotations.tables import CANDIDATES, caption_list
from vse_exp.data.places import filesystem
from vse_exp.errors import UserError
from vse_exp.images.archives import picture_kind
from vse_exp.images.sources import guess_column
from vse_exp.images.tables import open_parquet

MAX_GROUP = 2 << 30
"""Bytes of a row group that are read at once; larger ones are refused."""


def groups(place: str) -> list[tuple[int, int, int]]:
    about = _parquet(place).metadata
    found = []
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        if group.total_byte_size > MAX_GROUP:
            raise UserError(
                f"{place} has a row group of {group.total_byte_size >> 20:,} MB, which is read at "
                "once: write it with fewer rows each (row_group_size=1000)."
            )
        found.append((number, number + 1, group.num_rows))
    return found


def _parquet(place: str) -> Any:
    files, path = filesystem(place)
    return open_parquet(place, files.open(path, "rb"))


def read_group(
    place: str, group: int, first: int, pictures: bool, image: str | None, caption: str | None
) -> tuple[list[str], list[list[str]], Any]:
    """Names, captions and images of a row group, numbered on from `first`; see `read_block`."""
    file = _parquet(place)
    schema = {field.name: field.type for field in file.schema_arrow}
    holds = picture_kind if pictures else _feature_kind
    image = image or next((name for name, kind in schema.items() if holds(kind) is not None), None)
    caption = caption or guess_column(schema, CANDIDATES["caption"])
    for key, column in (("image", image), ("caption", caption)):
        if column not in schema:
            what = "captions" if key == "caption" else "pictures" if pictures else "features"
            raise UserError(
                f"{place} has no column {column or 'of ' + what} (it has "
                f"{', '.join(schema)}): set data.layout.{key} to that of the {what}."
            )
    assert image is not None
    table = file.read_row_group(group, columns=[image, caption], use_threads=False)
    captions = [caption_list(cell) or [] for cell in table[caption].to_pylist()]
    stem = Path(place).name.removesuffix(".parquet")
    names = [f"{stem}/{number}" for number in range(first, first + len(captions))]
    if not pictures:
        return names, captions, _feature_rows(table[image], place)
    cells = table[image].to_pylist()
    if picture_kind(schema[image]):  # {bytes, path}
        return names, captions, [cell and cell["bytes"] for cell in cells]
    return names, captions, cells


def _feature_kind(kind: Any) -> str | None:
    """Whether a column holds lists of floats, or lists of such lists."""
    import pyarrow

    kind = getattr(kind, "storage_type", kind)
    if not hasattr(kind, "value_type"):
        return None
    inner = kind.value_type
    return "floats" if pyarrow.types.is_floating(inner) else _feature_kind(inner)


def _feature_rows(column: Any, place: str) -> np.ndarray:
    """A column of lists of floats as an array (n, …). UserError where they differ in size."""
    array = column.combine_chunks()
    array = getattr(array, "storage", array)
    shape = [len(array)]
    while hasattr(array.type, "value_type"):
        inner = array.flatten()
        size, rest = divmod(len(inner), max(1, len(array)))
        lengths = None if hasattr(array.type, "list_size") else array.value_lengths()
        missing = array.null_count or inner.null_count
        if missing or rest or (lengths is not None and set(lengths.to_pylist()) != {size}):
            raise UserError(
                f"{place} holds features that are missing or of different sizes: mend it."
            )
        shape.append(size)
        array = inner
    # not by `to_numpy`, which imports pandas
    values = np.frombuffer(array.buffers()[1], f"f{array.type.bit_width // 8}")
    return values[array.offset :][: len(array)].reshape(shape)
