"""`st:NAME_OR_FOLDER`: models of sentence-transformers that take pictures too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vse_exp.errors import UserError
from vse_exp.images.rows import Images, require_finite
from vse_exp.models.dual import DualEncoder
from vse_exp.models.others import loading, needs
from vse_exp.progress import track
from vse_exp.similarity import Cosine


class OpenPictures:
    """Pictures as they are: what takes them cuts them itself."""

    squares, shape = False, ()

    def prepare(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        return list(pictures)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpenPictures)

    def __hash__(self) -> int:
        return 0


class WholePictures(DualEncoder):
    """A model that cuts sentences and pictures by itself: rows are made unit norm here."""

    def rows_of_sentences(self, captions: list[str]) -> np.ndarray:
        """Any rows (n, dim)."""
        raise NotImplementedError

    def rows_of_images(self, images: Any) -> np.ndarray:
        """Any rows (n, dim) of a list of open pictures."""
        raise NotImplementedError

    @property
    def preprocessing(self) -> OpenPictures | None:
        return OpenPictures()

    def embed_in(self, precision: str) -> None:
        if precision != "32-true":
            raise UserError(f"{self.name} embeds by itself: leave out precision={precision}.")

    def encode_sentences(
        self, captions: Sequence[str], batch_size: int | None = None, verbose: bool = False
    ) -> np.ndarray:
        if isinstance(captions, str):
            raise UserError("encode_sentences takes a list of captions: put the string in a list.")
        size = batch_size or self.captions_at_once
        result = np.empty((len(captions), self.dim), np.float32)
        for start in track(range(0, len(captions), size), "encoding captions", verbose):
            block = list(captions[start : start + size])
            result[start : start + size] = _unit(self.rows_of_sentences(block))
        return result

    def image_blocks(
        self, images: Images, batch_size: int | None = None, verbose: bool = False
    ) -> Iterator[np.ndarray]:
        self.check_images(images)
        size = batch_size or self.images_at_once
        for start in track(range(0, len(images), size), "encoding images", verbose):
            yield _unit(self.rows_of_images(images.rows(slice(start, start + size))))


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float32)
    require_finite(torch.from_numpy(rows), "Embeddings")
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class SentenceTransformers(WholePictures):
    """A model of sentence-transformers."""

    captions_at_once = 256

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.similarity = model, Cosine()
        self.dim = self.rows_of_sentences(["a"]).shape[1]

    @property
    def kind(self) -> str:
        return "SentenceTransformer"

    def rows_of_sentences(self, captions: list[str]) -> np.ndarray:
        return self.model.encode(captions, show_progress_bar=False)

    def rows_of_images(self, images: Any) -> np.ndarray:
        return self.model.encode(images, show_progress_bar=False)


def load(name: str, trust: Sequence[str] = ()) -> DualEncoder:
    """The model in a folder, or of that name on the Hugging Face hub."""
    needs("sentence_transformers", "text", "st")
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    place = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    with loading(f"st:{name}"):
        model = SentenceTransformer(place, device="cpu", trust_remote_code=False)
        made = SentenceTransformers(model).eval()
        try:
            made.rows_of_images([Image.new("RGB", (32, 32))])
        except Exception as error:
            raise UserError(
                f"st:{name} takes no pictures: give a model of sentence-transformers for both "
                "sentences and pictures, as clip-ViT-B-32."
            ) from error
    return made
