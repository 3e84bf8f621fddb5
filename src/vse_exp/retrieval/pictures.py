"""The pictures of a gallery's images as small JPEGs, wherever their files lie."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from vse_exp.data.scenes.drawn import DrawnPictures
from vse_exp.errors import UserError
from vse_exp.images.decoding import UnreadableImage, open_picture
from vse_exp.images.sources import Pictures, open_pictures
from vse_exp.retrieval.gallery import Gallery

THUMBNAIL = 240
"""Longer side of a thumbnail in pixels."""
QUALITY = 82


class Thumbnails(Protocol):
    """Small pictures by row of the gallery's images."""

    def picture(self, row: int) -> Image.Image | None:
        """The whole picture of an image, None where it is missing or broken."""
        ...

    def jpeg(self, row: int) -> bytes | None:
        """The JPEG of an image, None where its picture is missing or broken."""
        ...


def open_thumbnails(
    pictures: str | Sequence[str] | None, names: Sequence[str] | None
) -> Thumbnails | None:
    """The thumbnails of the images `names` from a folder, tar or other source of pictures, or of
    several.

    `pictures` may be `scenes` for pictures that the program draws itself. None where either is None
    or nothing is found there. Names that lead out of a folder are looked for by their last part.
    """
    if not pictures or not names:
        return None
    if pictures == "scenes":
        return _Read(DrawnPictures(names, THUMBNAIL))
    try:
        return _Read(open_pictures(pictures, names))
    except UserError:
        return None


def gallery_thumbnails(gallery: Gallery, pictures: str | None = None) -> Thumbnails | None:
    """The thumbnails of a gallery's images, from `pictures` or where the gallery says they lie.

    A gallery may come from anywhere: it may name folders and archives, but no list of files.
    """
    place = pictures or gallery.about["pictures"]
    if pictures is None and place is not None and place != "scenes":
        for path in map(Path, [place] if isinstance(place, str) else place):
            if not path.is_dir() and path.suffix.lower() not in (".tar", ".zip"):
                return None
    return open_thumbnails(place, gallery.images.names if gallery.images else None)


class _Read:
    """Thumbnails of picture files."""

    def __init__(self, source: Pictures) -> None:
        self.source = source
        self.lock = threading.Lock()

    def picture(self, row: int) -> Image.Image | None:
        try:
            with self.lock:  # archives have one position
                content = self.source.read(row)
            return open_picture(content)
        except (UnreadableImage, UserError):
            return None

    def jpeg(self, row: int) -> bytes | None:
        picture = self.picture(row)
        return None if picture is None else thumbnail(picture)


def thumbnail(picture: Image.Image, size: int = THUMBNAIL) -> bytes:
    """A JPEG of at most `size` pixels a side. Nothing but pixels is kept of the file."""
    picture = picture.copy()
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=QUALITY, optimize=True)
    return content.getvalue()
