"""The demo's answers: what a sentence, a picture or an image of the gallery finds, and how fast."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.images.decoding import UnreadableImage, decode_image
from vse_exp.retrieval.captioning import Retriever
from vse_exp.retrieval.collection import gallery_from_config
from vse_exp.retrieval.gallery import Gallery, Hits, Kind
from vse_exp.retrieval.opening import open_gallery
from vse_exp.retrieval.pictures import Thumbnails, gallery_thumbnails
from vse_exp.retrieval.reasons import pair_score, region_effects, word_effects

UPLOADED = ("JPEG", "PNG", "GIF", "WEBP")


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how long its head and an upload may take to come in."""

    upload_bytes: int = 10 << 20
    upload_pixels: int = 40_000_000
    characters: int = 1000
    results: int = 100
    head_seconds: float = 20.0
    upload_seconds: float = 60.0


@dataclass(frozen=True)
class Shelf:
    """A gallery as the demo shows it: by name, and with its pictures where they are at hand."""

    name: str
    retriever: Retriever
    thumbnails: Thumbnails | None

    @property
    def about(self) -> dict[str, Any]:
        """What the page says of it."""
        gallery = self.retriever.gallery
        return {
            "name": self.name,
            "source": gallery.about["source"],
            "counts": {kind: len(gallery.items(kind)) for kind in gallery.kinds},
            "has_pictures": self.thumbnails is not None,
        }


class Demo:
    """Answers as plain dictionaries for JSON. One request is worked on at a time: models are not
    made for several threads, and memory stays bounded by that of one picture.

    `shelves`: galleries of one model; a request names one, or gets the first.
    """

    def __init__(self, shelves: Sequence[Shelf], limits: Limits | None = None) -> None:
        self.shelves = {shelf.name: shelf for shelf in shelves}
        self.limits = limits or Limits()
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """What the page says and checks before it asks."""
        galleries = [shelf.about for shelf in self.shelves.values()]
        return {"galleries": galleries, "upload_bytes": self.limits.upload_bytes}

    def warm_up(self) -> None:
        """Load the image backbones before the first upload needs them."""
        for shelf in self.shelves.values():
            with self._lock, suppress(UserError):  # told when a picture comes
                shelf.retriever.embed([Image.new("RGB", (32, 32))])

    def sentence(self, shelf: str, text: str, k: int) -> dict[str, Any]:
        """What a sentence finds."""
        self._check_text(text, "Type a sentence, or give a picture.")
        with self._working() as clock:
            retriever = self._shelf(shelf).retriever
            with clock.part("embedding"):
                query = retriever.embed([text])
            return self._find(retriever.gallery, query, "captions", k, clock)

    def picture(self, shelf: str, content: bytes, minus: str, plus: str, k: int) -> dict[str, Any]:
        """What an uploaded picture finds, less one word and plus another where given."""
        with self._working() as clock:
            retriever = self._shelf(shelf).retriever
            with clock.part("picture"):
                picture = self._decoded(content)
            with clock.part("embedding"):
                query = self._with_words(retriever, retriever.embed([picture]), minus, plus)
            return self._find(retriever.gallery, query, "images", k, clock)

    def image(self, shelf: str, row: int, minus: str, plus: str, k: int) -> dict[str, Any]:
        """What an image of the gallery finds, less one word and plus another where given."""
        with self._working() as clock:
            retriever = self._shelf(shelf).retriever
            with clock.part("embedding"):
                stored = self._stored(retriever.gallery, row)
                query = self._with_words(retriever, stored, minus, plus)
            found = self._find(retriever.gallery, query, "images", k, clock)
        return {"name": retriever.gallery.items("images").names[row], **found}

    def reasons(self, shelf: str, text: str, image: int | bytes) -> dict[str, Any]:
        """The score of a sentence and an image, a row of the gallery or an upload; what it loses
        without each word, and without each part of the picture (None where it is not at hand)."""
        self._check_text(text, "There is no sentence to look into: give q=….")
        with self._working() as clock:
            chosen = self._shelf(shelf)
            retriever, gallery = chosen.retriever, chosen.retriever.gallery
            if isinstance(image, bytes):
                picture = self._decoded(image)
                vector = retriever.embed([picture])
            else:
                vector = self._stored(gallery, image)
                picture = chosen.thumbnails.picture(image) if chosen.thumbnails else None
            caption = retriever.embed([text])
            with clock.part("words"):
                words, lost = word_effects(retriever.embed, text, vector, gallery.similarity)
            regions = None
            with clock.part("regions"), suppress(UserError):  # none says how features are made
                if picture is not None:
                    seen = region_effects(retriever.embed, picture, caption, gallery.similarity)
                    regions = seen[0].round(4).tolist()
            score = pair_score(gallery.similarity, vector, caption)
            effects = list(zip(words, lost[0].round(4).tolist(), strict=True))
        found = {"score": score, "words": effects, "regions": regions}
        return {**found, "milliseconds": clock.milliseconds}

    def thumbnail(self, shelf: str, row: int) -> bytes | None:
        """A small JPEG of an image of the gallery."""
        chosen = self._shelf(shelf)
        images, thumbnails = chosen.retriever.gallery.images, chosen.thumbnails
        known = images is not None and 0 <= row < len(images)
        return thumbnails.jpeg(row) if known and thumbnails is not None else None

    def _shelf(self, name: str) -> Shelf:
        """The gallery of that name, the first for none."""
        if name and name not in self.shelves:
            raise UserError("There is no such gallery here: /api/about lists them.")
        return self.shelves[name] if name else next(iter(self.shelves.values()))

    @contextmanager
    def _working(self) -> Iterator[_Clock]:
        with self._lock:
            yield _Clock()

    def _decoded(self, content: bytes) -> Image.Image:
        try:
            return decode_image(content, self.limits.upload_pixels, UPLOADED)
        except UnreadableImage as error:
            raise UserError(
                f"Cannot read the picture ({error}): choose another JPEG, PNG, GIF or WebP."
            ) from error

    @staticmethod
    def _stored(gallery: Gallery, row: int) -> np.ndarray:
        vectors = gallery.items("images").vectors
        if not 0 <= row < len(vectors):
            raise UserError(f"The gallery has no image {row}.")
        return np.asarray(vectors[row : row + 1], dtype=np.float32)

    def _with_words(
        self, retriever: Retriever, query: np.ndarray, minus: str, plus: str
    ) -> np.ndarray:
        """`query - minus + plus`, of unit norm (Kiros et al. 2014, section 3.2)."""
        for sign, text in ((-1, minus), (1, plus)):
            self._check_text(text)
            if text.strip():
                query = query + sign * retriever.embed([text])
        norm = np.linalg.norm(query)
        if not norm > 0:
            raise UserError("Nothing is left of this picture and these words: take other words.")
        return query / norm if minus.strip() or plus.strip() else query

    def _find(
        self, gallery: Gallery, query: np.ndarray, kind: Kind, k: int, clock: _Clock
    ) -> dict[str, Any]:
        k = max(1, min(k, self.limits.results))
        found: dict[Kind, Hits] = {}
        with clock.part("search"):
            for wanted in gallery.kinds:
                found[wanted] = gallery.search(query, kind, wanted, k)
        named = {
            wanted: [hit._asdict() for hit in gallery.named(hits, wanted)[0]]
            for wanted, hits in found.items()
        }
        return {**named, "milliseconds": clock.milliseconds}

    def _check_text(self, text: str, blank: str | None = None) -> None:
        """UserError for what is too long, and `blank` for what says nothing."""
        if len(text) > self.limits.characters:
            raise UserError(f"Sentences may have {self.limits.characters} characters: shorten it.")
        if blank and not text.strip():
            raise UserError(blank)


class _Clock:
    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.milliseconds[name] = round(1e3 * (time.perf_counter() - started), 2)


def open_demo(config: Mapping[str, Any]) -> Demo:
    """The demo of the keys in conf/demo.yaml: its model, and galleries from disk, or one in
    memory."""
    model = load_model(config["checkpoint"], config["device"], config["trust"], config["runtime"])
    given = config["gallery"]
    if given is None:
        galleries = {"": gallery_from_config(config, model, None)}
    else:
        paths = [given] if isinstance(given, str) else given
        galleries = {name: open_gallery(path, model) for name, path in _named(paths).items()}
    limits = Limits(
        upload_bytes=int(1e6 * config["max_upload_mb"]),
        upload_pixels=int(1e6 * config["max_upload_megapixels"]),
    )
    shelves = [
        Shelf(
            name,
            Retriever(model, gallery, config["weights"]),
            gallery_thumbnails(gallery, config["pictures"]),
        )
        for name, gallery in galleries.items()
    ]
    return Demo(shelves, limits)


def _named(paths: Sequence[str]) -> dict[str, str]:
    """Galleries by the name of their folder, of two alike by their path."""
    names = [Path(path).resolve().name for path in paths]
    return {
        name if names.count(name) == 1 else path: path
        for name, path in zip(names, paths, strict=True)
    }
