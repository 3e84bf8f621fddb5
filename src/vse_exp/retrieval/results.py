"""What queries have found: for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vse_exp.errors import printable
from vse_exp.retrieval.gallery import Hit, Kind

Found = Sequence[tuple[str, list[Hit]]]
"""Queries, as text, and their hits, the best first."""


def as_records(found: Found, kind: Kind) -> list[dict[str, Any]]:
    """For JSON: query, target, hits."""
    return [
        {"query": query, "target": kind, "hits": [hit._asdict() for hit in hits]}
        for query, hits in found
    ]


def print_tables(found: Found, kind: Kind) -> None:
    """A table a query."""
    console = Console()
    for query, hits in found:
        # Text, for what is in brackets in a caption is no markup
        table = Table(title=Text(printable(query)), title_justify="left", box=None, pad_edge=False)
        table.add_column("", justify="right", style="dim")
        table.add_column("score", justify="right")
        table.add_column(kind[:-1], overflow="fold")
        for place, hit in enumerate(hits, start=1):
            table.add_row(str(place), f"{hit.score:.3f}", Text(printable(hit.name)))
        console.print(table)
