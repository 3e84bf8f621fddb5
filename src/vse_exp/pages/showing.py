"""Results as a notebook shows them: a table of figures, a strip of pictures, a list of captions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from vse_exp.errors import UserError
from vse_exp.evaluation.tables import COLUMNS
from vse_exp.images.decoding import decode_image
from vse_exp.retrieval.gallery import Gallery, Hit
from vse_exp.retrieval.pictures import gallery_thumbnails, thumbnail

SIDE = 112
"""Pixels of a picture's longer side, so that a stored notebook stays small."""


@dataclass(frozen=True)
class Shown:
    """What a notebook shows as HTML, and everything else as text."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def show(
    found: Mapping[str, Any] | Sequence[Hit],
    gallery: Gallery | None = None,
    pictures: str | None = None,
) -> Shown:
    """Metrics, several by name, or hits, for people to look at.

    `found`: what `evalrank` returns, a mapping of names to such, or what `retrieve_images` and
    `retrieve_captions` return. With the `gallery` of the hits images are shown as pictures, from
    `pictures` (a folder or tar) or where the gallery says they lie. Raises UserError for metrics
    that have none of the usual names.
    """
    if isinstance(found, Mapping):
        rows = found if all(isinstance(one, Mapping) for one in found.values()) else {"": found}
        return _table(rows)
    return _hits(found, gallery, pictures)


def _table(rows: Mapping[str, Mapping[str, Any]]) -> Shown:
    columns = [key for key in COLUMNS if rows and all(key in row for row in rows.values())]
    if not columns:
        raise UserError(f"These metrics have no common one of {', '.join(COLUMNS)}.")
    lines = [["", *columns]]
    for name, row in rows.items():
        digits = [0 if key.endswith("Medr") else 1 for key in columns]
        figures = zip(columns, digits, strict=True)
        lines.append([name, *(f"{row[key]:.{places}f}" for key, places in figures)])
    head, *body = ("".join(_cell(cell, line is lines[0]) for cell in line) for line in lines)
    html = f"<table><thead><tr>{head}</tr></thead><tbody>"
    html += "".join(f"<tr>{row}</tr>" for row in body) + "</tbody></table>"
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return Shown(html, "\n".join(aligned))


def _cell(text: str, heading: bool) -> str:
    return f"<th>{escape(text)}</th>" if heading else f"<td>{escape(text)}</td>"


def _hits(hits: Sequence[Hit], gallery: Gallery | None, pictures: str | None) -> Shown:
    text = "\n".join(f"{hit.score:.3f}  {hit.name}" for hit in hits)
    images = gallery.images if gallery is not None else None
    are_images = images is not None and all(
        hit.item < len(images) and images.names[hit.item] == hit.name for hit in hits
    )
    thumbnails = gallery_thumbnails(gallery, pictures) if gallery and are_images else None
    if thumbnails is None:
        lines = "".join(
            f"<li>{escape(hit.name)} <small>{hit.score:.3f}</small></li>" for hit in hits
        )
        return Shown(f"<ol>{lines}</ol>", text)
    figures = []
    for hit in hits:
        content, name = thumbnails.jpeg(hit.item), escape(hit.name)
        shown = name if content is None else f'<img alt="{name}" src="{_inline(content)}">'
        figures.append(
            f'<figure style="display:inline-block;margin:4px">{shown}'
            f"<figcaption><small>{hit.score:.3f}</small></figcaption></figure>"
        )
    return Shown("<div>" + "".join(figures) + "</div>", text)


def _inline(jpeg: bytes) -> str:
    small = thumbnail(decode_image(jpeg), SIDE)
    return f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"
