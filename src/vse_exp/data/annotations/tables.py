"""Plain tables of (image, caption[, split]): CSV, TSV, JSON, JSON Lines, Parquet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vse_exp.data.annotations.records import Reading, Record
from vse_exp.errors import UserError
from vse_exp.images.sources import IMAGE_COLUMNS, guess_column
from vse_exp.images.tables import Row, table_rows

CANDIDATES = {
    "image": IMAGE_COLUMNS,
    "caption": ("caption", "captions", "comment", "sentence", "sentences", "raw", "text", "title"),
    "split": ("split",),
    "language": ("language", "lang"),
}


NUMBERED = re.compile(r"captions?_?\d+", re.IGNORECASE)


def read_table(
    path: Path,
    columns: Mapping[str, str | None] | None = None,
    rows: Iterable[Row] | None = None,
) -> Reading:
    """Records of a table, or of `rows` of it; a cell may hold one caption or a list of them, and
    there may be columns `caption_0`, `caption_1`, ….

    `columns` names the columns `image`, `caption`, `split` and `language`; None: found by their
    usual names.
    """
    named = {key: value for key, value in (columns or {}).items() if value is not None}
    records, malformed = [], []
    found: dict[str, str | None] = {}
    for number, row in table_rows(path) if rows is None else rows:
        numbered = [cell for name, cell in row.items() if NUMBERED.fullmatch(name)]
        if numbered:
            row["caption"] = [cell for cell in numbered if cell]
        if not found:
            found = {
                key: named.get(key) or guess_column(row, CANDIDATES[key]) for key in CANDIDATES
            }
            _check(path, row, found, named)
        image = _image(row.get(found["image"] or ""))
        captions = caption_list(row.get(found["caption"] or ""))
        split, language = (
            str(row[column]) if (column := found[key]) and row.get(column) is not None else None
            for key in ("split", "language")
        )
        if not image or captions is None:
            missing = "image" if not image else "caption"
            malformed.append(f"{path.name} row {number}: no {missing}")
            continue
        records += [
            Record(image, caption, split, language=language or None) for caption in captions
        ]
    return Reading(str(path), "table", records, malformed)


def _check(
    path: Path, row: dict[str, Any], found: dict[str, str | None], named: Mapping[str, str]
) -> None:
    for key, column in found.items():
        if column is None and key in ("image", "caption"):
            raise UserError(
                f"{path} has no column that is called like an {key} (it has {', '.join(row)}): "
                f"name it with columns.{key}=…."
            )
        if key in named and column not in row:
            raise UserError(
                f"{path} has no column {column!r} (columns.{key}; it has {', '.join(row)})."
            )


def _image(cell: Any) -> str:
    if isinstance(cell, Mapping):  # a picture inside a Parquet table, and its name
        cell = cell.get("path")
    return "" if cell is None else " ".join(str(cell).split())


def caption_list(cell: Any) -> list[str] | None:
    """One or several captions; None where the cell is missing or of another kind."""
    if isinstance(cell, str):
        if cell.startswith('["') and cell.endswith('"]'):  # a JSON list in a CSV cell
            try:
                cell = json.loads(cell)
            except json.JSONDecodeError:
                return [str(cell)]
        else:
            return [cell]
    if isinstance(cell, list) and all(isinstance(caption, str) for caption in cell):
        return cell
    return None
