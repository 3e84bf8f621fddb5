"""HTML out of the templates beside: whatever is put in is escaped, and nothing is loaded from
elsewhere."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vse_exp.files import new_folder
from vse_exp.progress import track
from vse_exp.retrieval.gallery import Hit, Kind
from vse_exp.retrieval.pictures import Thumbnails

PAGE = "index.html"


@functools.cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("vse_exp.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # what `tojson` writes can stand in a <script>: nothing in it ends that element
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    found.globals |= {"source": source, "digest": digest, "scripts": ()}
    return found


def source(*names: str) -> Markup:
    """The style sheet or scripts of these names, one after the other, as they are."""
    folder = Path(__file__).with_name("templates")
    return Markup("".join((folder / name).read_text(encoding="utf-8") for name in names))


def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy lets a script or style inside a page pass."""
    found = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(found).decode()}"


def page(name: str, **values: Any) -> str:
    """The page of the template `name`, with today's date."""
    return _templates().get_template(name).render(date=date.today().isoformat(), **values)


def markdown(name: str, /, **values: Any) -> str:
    """The text of the template `name`, in which nothing is escaped."""
    return _templates().overlay(autoescape=False).get_template(name).render(**values) + "\n"


def write_thumbnails(folder: Path, rows: Iterable[int], thumbnails: Thumbnails | None) -> list[int]:
    """Write `pictures/{row}.jpg` of images into a page's folder; returns the rows that have one.

    Named by row: file names of images need not be fit for another folder or for an address.
    """
    written: list[int] = []
    if thumbnails is None:
        return written
    (folder / "pictures").mkdir(exist_ok=True)
    for row in track(list(rows), "writing pictures"):
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
    with new_folder(output, overwrite, mark=PAGE) as folder:
        rows = {hit.item for _, hits in found for hit in hits} if kind == "images" else set()
        text = page(
            "results.html.j2",
            title="What was found",
            about=about,
            found=found,
            kind=kind,
            pictures=set(write_thumbnails(folder, sorted(rows), thumbnails)),
        )
        (folder / PAGE).write_text(text, encoding="utf-8")
