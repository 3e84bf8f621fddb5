"""Queries as they are typed: a sentence, the name of a picture, or a file of image features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vse_exp.errors import UserError
from vse_exp.images.decoding import is_picture_name
from vse_exp.images.features import open_features
from vse_exp.retrieval.captioning import query_kind
from vse_exp.retrieval.gallery import KINDS, Gallery, Kind


def verbatim(argument: str, key: str = "query") -> str:
    """The command-line argument `key=a sentence, typed freely` with its value quoted for Hydra.

    Values that are quoted or a list already are left as they are, and other arguments too.
    """
    name, equals, value = argument.partition("=")
    if name.strip() != key or not equals or value.lstrip()[:1] in ("[", "'", '"'):
        return argument
    # quotes and interpolations are escaped, and so are backslashes, but only those before these
    escaped = re.sub(r"(\\*)('|\$\{|\Z)", lambda m: m[1] * 2 + ("\\" + m[2] if m[2] else ""), value)
    return f"{key}='{escaped}'"


def read_queries(values: Sequence[Any]) -> list[tuple[str, Any]]:
    """Queries for a Retriever with what to call them: each of `values` is a sentence, or names a
    picture (a Path then) or a `.npy` whose every row is one query.

    UserError for files that are missing, and where there is no query.
    """
    queries: list[tuple[str, Any]] = []
    for value in map(str, values):
        path = Path(value)
        if path.suffix == ".npy":
            rows = open_features(path)
            queries += [(f"{path.name} row {i}", row) for i, row in enumerate(rows)]
        elif is_picture_name(path.name) and not value.endswith(" ") and _is_file_name(path):
            queries.append((path.name, path))
        else:
            queries.append((value, value))
    if not queries:
        raise UserError("There is no query: give query=… a sentence or the name of a picture.")
    return queries


def _is_file_name(path: Path) -> bool:
    """Whether what ends like a picture's name is one: it is there, or has no spaces."""
    if path.is_file():
        return True
    if " " in path.name:
        return False
    raise UserError(f"No picture {path}: correct query=….")


def find_target(gallery: Gallery, queries: Sequence[tuple[str, Any]], target: str | None) -> Kind:
    """What to search for: `target`, else the other kind than the queries', else what there is."""
    if target is not None:
        for kind in KINDS:
            if target == kind:
                return kind
        raise UserError(f"Unknown target={target!r}: choose images or captions.")
    asked = query_kind(queries[0][1])
    other = KINDS[1 - KINDS.index(asked)]
    return other if other in gallery.kinds else gallery.kinds[0]
