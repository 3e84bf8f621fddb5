"""Queries as they are typed: a sentence, the name of a picture, or a file of image features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vse_exp.errors import UserError
from vse_exp.images.decoding import is_picture_name
from vse_exp.images.features import open_features
from vse_exp.images.provenance import feature_record
from vse_exp.models.dual import DualEncoder
from vse_exp.retrieval.captioning import query_kind
from vse_exp.retrieval.gallery import KINDS, Gallery, Kind


def read_queries(typed: str | Sequence[str]) -> list[tuple[str, Any]]:
    """Queries for a Retriever with what to call them: each of `typed` is a sentence, or names a
    picture (a Path then) or a `.npy` whose every row is one query.

    UserError for files that are missing, and where there is no query.
    """
    queries: list[tuple[str, Any]] = []
    for value in _each(typed):
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


def check_queries(typed: str | Sequence[str], model: DualEncoder, allow: bool) -> None:
    """UserError where files of features among the queries were made otherwise than the model's."""
    for value in _each(typed):
        if value.endswith(".npy"):
            model.check_features(feature_record(value), allow)


def _each(typed: str | Sequence[str]) -> list[str]:
    return [typed] if isinstance(typed, str) else list(map(str, typed))


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
