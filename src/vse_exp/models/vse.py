"""The model: a sentence encoder and an image encoder that map into one space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.images.pictures import given_images
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.rows import Images, require_finite
from vse_exp.models.image import ImageEncoder
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.parts import Part
from vse_exp.progress import track
from vse_exp.schema import NonNegative, Size
from vse_exp.similarity import Cosine, Similarity
from vse_exp.text.vocabulary import Vocabulary


class VSE(nn.Module, Part):
    """Visual-semantic embedding (Kiros, Salakhutdinov, Zemel 2014, section 2.2).

    `dim_image` is the size of image features, None for pictures. `provenance` says how the features
    it was trained on were made, None where not known.
    """

    provenance: dict[str, Any] | None = None

    def __init__(
        self,
        vocabulary: Vocabulary,
        dim_image: int | None,
        *,
        encoder: Callable[[int, int], SentenceEncoder],
        image_encoder: Callable[[Any, int], ImageEncoder],
        dim: Size = 1024,
        similarity: Similarity | None = None,
        normalize_images: bool = True,
        unit_images: bool = True,
        absolute: bool = False,
        eps: NonNegative = 1e-8,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.dim_image, self.dim = dim_image, dim
        self.similarity = similarity or Cosine()
        self.normalize_images, self.unit_images = normalize_images, unit_images
        self.absolute, self.eps = absolute, eps
        self.sentence_encoder = encoder(len(vocabulary), dim)
        self.image_encoder = image_encoder(dim_image, dim)

    def embed_captions(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Ids (B, T) int64 to unit rows (B, dim); `lengths` (B,) where captions are padded."""
        return self._place(self.sentence_encoder(tokens, lengths), unit=True)

    def embed_images(self, images: Tensor, normalized: bool = True) -> Tensor:
        """Image features (B, dim_image), or pictures (B, 3, H, W), to (B, dim), unit rows if
        `normalized`.

        The original's loss sees images that are not normalised (model.py), though its evaluation
        normalises them: the training step passes `normalize_images`. Without `unit_images` they
        never are.
        """
        return self._place(self.image_encoder(images), normalized and self.unit_images)

    def _place(self, embeddings: Tensor, unit: bool) -> Tensor:
        if unit:
            embeddings = normalize(embeddings, dim=-1, eps=self.eps)
        return embeddings.abs() if self.absolute else embeddings

    @torch.inference_mode()
    def encode_sentences(
        self, captions: Sequence[str], batch_size: int = 1024, verbose: bool = False
    ) -> np.ndarray:
        """Unit rows, float32 (n, dim), in the order of `captions`.

        Works through the captions sorted by length, so that no batch is padded by much; `verbose`
        shows progress.
        """
        if isinstance(captions, str):
            raise UserError("encode_sentences takes a list of captions: put the string in a list.")
        tokenized = self.vocabulary.encode(captions)
        by_length = np.argsort(tokenized.lengths, kind="stable")
        result = np.empty((len(captions), self.dim), dtype=np.float32)
        device = self.device
        with self.evaluating():
            for start in track(range(0, len(captions), batch_size), "encoding captions", verbose):
                chosen = by_length[start : start + batch_size]
                tokens, lengths = tokenized.batch(chosen)
                if lengths is not None:
                    lengths = lengths.to(device)
                embeddings = self.embed_captions(tokens.to(device), lengths)
                result[chosen] = embeddings.float().cpu().numpy()
        return result

    @torch.inference_mode()
    def encode_images(
        self, images: Any, batch_size: int | None = None, verbose: bool = False
    ) -> np.ndarray:
        """Unit rows, float32 (n, dim), of image features (n, dim_image): an array, tensor or
        ImageFeatures. A memory-mapped array is read in blocks.

        A model that `takes_pictures` gets these instead: a list of open pictures, paths or contents
        of files, or an array (n, 3, side, side) in 0..255, cut as `preprocessing` says.
        `batch_size` None: 4096 features, or 64 pictures. Raises UserError for what does not fit the
        model, for pictures that cannot be read, and for NaN or Inf with the row.
        """
        images = self._checked_images(images)
        count = images.shape[0]
        size = batch_size or (64 if self.takes_pictures else 4096)
        result = np.empty((count, self.dim), dtype=np.float32)
        with self.evaluating():
            for start in track(range(0, count, size), "encoding images", verbose):
                block = images.rows(slice(start, start + size)).to(self.device)
                rows = self.embed_images(block).float().cpu()
                require_finite(rows, "Image features", start)
                result[start : start + size] = rows.numpy()
        return result

    def _checked_images(self, images: Any) -> Images:
        """`images` by row, of the size that the model takes."""
        preprocessing = self.preprocessing
        images = given_images(images, preprocessing)
        if preprocessing is None:
            shape, expected = tuple(images.shape), self.dim_image
            if len(shape) < 2 or (expected is not None and shape[-1] != expected):
                raise UserError(
                    f"The image features have shape {shape}, and the model takes rows of "
                    f"{expected}: use features made as those it was trained on."
                )
            return images
        side = preprocessing.crop
        if tuple(images.shape[1:]) != (3, side, side):
            raise UserError(
                f"The images have shape {tuple(images.shape)}, and the model takes pictures, "
                f"(n, 3, {side}, {side}) or a list of files: see model.preprocessing."
            )
        return images

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pictures are resized and cut for a model that takes them; None: it takes features."""
        return self.image_encoder.preprocessing

    @property
    def takes_pictures(self) -> bool:
        """Whether its images are pictures instead of features (`model.image_encoder=backbone`)."""
        return self.preprocessing is not None

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def evaluating(self) -> _Evaluating:
        """A context in which dropout is off; the mode before it is restored."""
        return _Evaluating(self)


class _Evaluating:
    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        self.was_training = self.module.training
        self.module.eval()

    def __exit__(self, *_: object) -> None:
        self.module.train(self.was_training)
