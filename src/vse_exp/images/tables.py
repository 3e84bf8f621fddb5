"""Rows of tables on disk: CSV, TSV, JSON, JSON Lines and Parquet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vse_exp.errors import UserError
from vse_exp.files import parse_json, read_json, read_text

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")

Row = tuple[int, dict[str, Any]]
"""A row's number for messages (line, or position from 1) and its cells by column name."""


def table_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """Rows of the table `path`, its kind judged by the suffix (other suffixes: delimited text).

    Delimited text has a header line and is separated by comma, tab, semicolon or bar, whichever
    the header has. Raises UserError with the line where the file is broken.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise UserError(f"No file {path}: correct the path.")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(path)
    if suffix == ".json":
        return _json_list(path)
    return _delimited(path)


def open_parquet(path: str | Path, file: IO[bytes] | None = None) -> Any:
    """A pyarrow ParquetFile, by its path or of an open `file` that is called so. UserError where
    pyarrow is missing or the file is broken."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"{path} is a Parquet file, which needs pyarrow: pip install 'vse_exp[tables]'."
        ) from error
    try:
        return pyarrow.parquet.ParquetFile(file or path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is no complete Parquet file ({_first_line(error)}).") from error


def delimiter_of(header: str) -> str:
    """The separator of a delimited table, by its header line; a comma where there is none."""
    return max(",\t;|", key=header.count) if any(mark in header for mark in ",\t;|") else ","


def _delimited(path: Path) -> Iterator[Row]:
    text = io.StringIO(read_text(path), newline="")
    delimiter = delimiter_of(text.readline())
    text.seek(0)
    # with bars, quotes are part of the caption (Flickr30k's results.csv)
    quoting = csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL
    reader = csv.reader(text, delimiter=delimiter, quoting=quoting)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise UserError(f"{path} is empty: it needs a header line with the columns' names.")
        started = reader.line_num + 1
        for cells in reader:
            if len(cells) > len(header):  # separators in an unquoted last column
                last = delimiter.join(cells[len(header) - 1 :])
                cells = [*cells[: len(header) - 1], last]
            if cells:
                yield started, dict(zip(header, cells, strict=False))
            started = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path} line {reader.line_num} is no table row ({error}): is a quote left open?"
        ) from error


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = parse_json(line, path, number)
        yield number, _as_row(path, number, row)


def _json_list(path: Path) -> Iterator[Row]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserError(f"{path} is not a list of rows: a JSON table looks like [{{…}}, {{…}}].")
    for number, row in enumerate(rows, start=1):
        yield number, _as_row(path, number, row)


def _as_row(path: Path, number: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{path} row {number} is not an object with named cells.")
    return row


def _parquet(path: Path) -> Iterator[Row]:
    file = open_parquet(path)
    columns = [name for field in file.schema_arrow for name in _light_columns(field)]
    number = 0
    for batch in file.iter_batches(columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _light_columns(field: Any) -> list[str]:
    """The column, or what of it is no picture: those are left where they are."""
    import pyarrow

    if pyarrow.types.is_struct(field.type):
        return [f"{field.name}.{name}" for child in field.type for name in _light_columns(child)]
    return [] if "binary" in str(field.type) else [field.name]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
