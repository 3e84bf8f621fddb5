"""The demo's answers: what a sentence, a picture or an image of the gallery finds, and how fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.images.decoding import UnreadableImage, decode_image
from vse_exp.retrieval.captioning import Retriever
from vse_exp.retrieval.collection import gallery_from_config
from vse_exp.retrieval.gallery import Hits, Kind, open_gallery
from vse_exp.retrieval.pictures import Thumbnails, gallery_thumbnails

SIGNATURES = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
}
"""How files of each type begin; WebP has a length in between."""


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how long its head and an upload may take to come in."""

    upload_bytes: int = 10 << 20
    upload_pixels: int = 40_000_000
    characters: int = 1000
    results: int = 100
    head_seconds: float = 20.0
    upload_seconds: float = 60.0


class Demo:
    """Answers as plain dictionaries for JSON. One request is worked on at a time: models are not
    made for several threads, and memory stays bounded by that of one picture."""

    def __init__(
        self, retriever: Retriever, thumbnails: Thumbnails | None, limits: Limits | None = None
    ) -> None:
        self.retriever = retriever
        self.gallery = retriever.gallery
        self.thumbnails = thumbnails
        self.limits = limits or Limits()
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """What the page says and checks before it asks."""
        return {
            "source": self.gallery.about["source"],
            "counts": {kind: len(self.gallery.items(kind)) for kind in self.gallery.kinds},
            "upload_bytes": self.limits.upload_bytes,
            "has_pictures": self.thumbnails is not None,
        }

    def warm_up(self) -> None:
        """Load the image backbone before the first upload needs it."""
        with self._lock, suppress(UserError):  # told when a picture comes
            self.retriever.embed([Image.new("RGB", (32, 32))])

    def sentence(self, text: str, k: int) -> dict[str, Any]:
        """What a sentence finds."""
        self._check_text(text)
        if not text.strip():
            raise UserError("Type a sentence, or give a picture.")
        with self._lock:
            clock = _Clock()
            with clock.part("embedding"):
                query = self.retriever.embed([text])
            return self._find(query, "captions", k, clock)

    def picture(self, content: bytes, minus: str, plus: str, k: int) -> dict[str, Any]:
        """What an uploaded picture finds, less one word and plus another where given."""
        if picture_type(content) is None:
            raise UserError("This is no JPEG, PNG, GIF or WebP picture: choose another file.")
        with self._lock:
            clock = _Clock()
            with clock.part("picture"):
                try:
                    picture = decode_image(content, self.limits.upload_pixels)
                except UnreadableImage as error:
                    raise UserError(f"Cannot read the picture: {error}.") from error
            with clock.part("embedding"):
                query = self._with_words(self.retriever.embed([picture]), minus, plus)
            return self._find(query, "images", k, clock)

    def image(self, row: int, minus: str, plus: str, k: int) -> dict[str, Any]:
        """What an image of the gallery finds, less one word and plus another where given."""
        vectors = self.gallery.items("images").vectors
        if not 0 <= row < len(vectors):
            raise UserError(f"The gallery has no image {row}.")
        with self._lock:
            clock = _Clock()
            with clock.part("embedding"):
                stored = np.asarray(vectors[row : row + 1], dtype=np.float32)
                query = self._with_words(stored, minus, plus)
            return self._find(query, "images", k, clock)

    def thumbnail(self, row: int) -> bytes | None:
        """A small JPEG of an image of the gallery."""
        known = self.gallery.images is not None and 0 <= row < len(self.gallery.images)
        return self.thumbnails.jpeg(row) if known and self.thumbnails is not None else None

    def _with_words(self, query: np.ndarray, minus: str, plus: str) -> np.ndarray:
        """`query - minus + plus`, of unit norm (Kiros et al. 2014, section 3.2)."""
        for sign, text in ((-1, minus), (1, plus)):
            self._check_text(text)
            if text.strip():
                query = query + sign * self.retriever.embed([text])
        norm = np.linalg.norm(query)
        if not norm > 0:
            raise UserError("Nothing is left of this picture and these words: take other words.")
        return query / norm if minus.strip() or plus.strip() else query

    def _find(self, query: np.ndarray, kind: Kind, k: int, clock: _Clock) -> dict[str, Any]:
        k = max(1, min(k, self.limits.results))
        found: dict[Kind, Hits] = {}
        with clock.part("search"):
            for wanted in self.gallery.kinds:
                found[wanted] = self.gallery.search(query, kind, wanted, k)
        named = {
            wanted: [hit._asdict() for hit in self.gallery.named(hits, wanted)[0]]
            for wanted, hits in found.items()
        }
        return {**named, "milliseconds": clock.milliseconds}

    def _check_text(self, text: str) -> None:
        if len(text) > self.limits.characters:
            raise UserError(f"Sentences may have {self.limits.characters} characters: shorten it.")


class _Clock:
    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.milliseconds[name] = round(1e3 * (time.perf_counter() - started), 2)


def open_demo(config: Mapping[str, Any]) -> Demo:
    """The demo of the keys in conf/demo.yaml: its model, and a gallery from disk or in memory."""
    model = load_model(config["checkpoint"], config["device"], config["trust"])
    if config["gallery"] is not None:
        gallery = open_gallery(config["gallery"], model)
    else:
        gallery = gallery_from_config(config, model, None)
    limits = Limits(
        upload_bytes=int(1e6 * config["max_upload_mb"]),
        upload_pixels=int(1e6 * config["max_upload_megapixels"]),
    )
    retriever = Retriever(model, gallery, config["weights"])
    return Demo(retriever, gallery_thumbnails(gallery, config["pictures"]), limits)


def picture_type(content: bytes) -> str | None:
    """JPEG, PNG, GIF or WebP by how a file begins, whatever it is called; None for all else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    return next((name for name, starts in SIGNATURES.items() if content.startswith(starts)), None)
