"""HTML out of templates: whatever is put in is escaped, unless it says that it is markup."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from vse_exp.retrieval.build import new_folder
from vse_exp.retrieval.gallery import Hit, Kind
from vse_exp.retrieval.pictures import Thumbnails

PAGE = "index.html"


class Markup(str):
    """Text that is HTML already."""


def template_text(name: str) -> str:
    """The content of a file in the folder `templates`."""
    return (files("vse_exp.retrieval") / "templates" / name).read_text(encoding="utf-8")


def fill(text: str, **values: Any) -> Markup:
    """Put values in the places `$$name` of a template, escaped unless they are Markup."""
    return Markup(Template(text).substitute({name: escape(v) for name, v in values.items()}))


def escape(value: Any) -> Markup:
    """Any value as text in HTML, also between quotes."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def joined(parts: Iterable[Markup], separator: str = "\n") -> Markup:
    """Pieces of HTML one after the other."""
    return Markup(separator.join(parts))


def json_for_script(content: Any) -> Markup:
    """JSON that can stand in a <script>: nothing in it can end that element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def page(name: str, **values: Any) -> str:
    """A whole page of the template `name`, with the common style and today's date."""
    style = Markup(template_text("style.css"))
    return fill(template_text(name), style=style, date=date.today().isoformat(), **values)


def write_thumbnails(folder: Path, rows: Iterable[int], thumbnails: Thumbnails | None) -> list[int]:
    """Write `pictures/{row}.jpg` of images into a page's folder; returns the rows that have one.

    Named by row: file names of images need not be fit for another folder or for an address.
    """
    written: list[int] = []
    if thumbnails is None:
        return written
    (folder / "pictures").mkdir(exist_ok=True)
    for row in rows:
        content = thumbnails.jpeg(row)
        if content is not None:
            (folder / "pictures" / f"{row}.jpg").write_bytes(content)
            written.append(row)
    return written


def write_results(
    output: str | Path,
    found: Sequence[tuple[str, list[Hit]]],
    kind: Kind,
    about: str,
    thumbnails: Thumbnails | None,
    overwrite: bool = False,
) -> None:
    """A folder with one page of what each query (as text) found, images with their pictures."""
    with new_folder(Path(output), overwrite, PAGE) as folder:
        rows = {hit.item for _, hits in found for hit in hits} if kind == "images" else set()
        shown = set(write_thumbnails(folder, sorted(rows), thumbnails))
        results = joined(_result(query, hits, kind, shown) for query, hits in found)
        text = page("results.html", title="What was found", about=about, results=results)
        (folder / PAGE).write_text(text, encoding="utf-8")


def _result(query: str, hits: Sequence[Hit], kind: Kind, shown: set[int]) -> Markup:
    if kind == "images":
        items = joined(_figure(place, hit, shown) for place, hit in enumerate(hits, start=1))
        listed = fill('<div class="pictures">$items</div>', items=items)
    else:
        items = joined(
            fill(
                '<li><span>$name</span><span class="score">$score</span></li>',
                name=hit.name,
                score=f"{hit.score:.3f}",
            )
            for hit in hits
        )
        listed = fill('<ol class="captions">$items</ol>', items=items)
    return fill(
        '<article class="card wide-card"><h2 class="sentence">$query</h2>$listed</article>',
        query=query,
        listed=listed,
    )


def _figure(place: int, hit: Hit, shown: set[int]) -> Markup:
    if hit.item in shown:
        picture = fill(
            '<img class="picture" src="pictures/$item.jpg" alt="$name" loading="lazy">',
            item=hit.item,
            name=hit.name,
        )
    else:
        picture = fill('<div class="picture no-picture">$name</div>', name=hit.name)
    return fill(
        '<figure title="$name">$picture<figcaption><span>$place</span>'
        '<span class="score">$score</span></figcaption></figure>',
        name=hit.name,
        picture=picture,
        place=place,
        score=f"{hit.score:.3f}",
    )
