"""The model: a sentence encoder and an image encoder that map into one space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.rows import Images
from vse_exp.models.dual import DualEncoder
from vse_exp.models.image import ImageEncoder
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.parts import Part
from vse_exp.schema import NonNegative, Size
from vse_exp.similarity import Cosine, Logit, Similarity
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary


class VSE(DualEncoder, Part):
    """Visual-semantic embedding (Kiros, Salakhutdinov, Zemel 2014, section 2.2).

    `dim_image` is the size of image features, None for pictures.
    """

    recorded: Mapping[str, Any] = {}
    """What its checkpoint holds beside it: of its training, as plain values."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        dim_image: int | None,
        *,
        encoder: Callable[[int, int], SentenceEncoder],
        image_encoder: Callable[[Any, int], ImageEncoder],
        dim: Size | None = 1024,
        similarity: Similarity | None = None,
        normalize_images: bool = True,
        unit_images: bool = True,
        absolute: bool = False,
        eps: NonNegative = 1e-8,
    ) -> None:
        super().__init__()
        if dim is None:
            raise UserError("model.dim=null is for pre-trained towers, which have a size: give it.")
        self.vocabulary = vocabulary
        self.dim_image, self.dim = dim_image, dim
        self.similarity = similarity or Cosine()
        self.normalize_images, self.unit_images = normalize_images, unit_images
        self.absolute, self.eps = absolute, eps
        self.sentence_encoder = encoder(len(vocabulary), dim)
        self.image_encoder = image_encoder(dim_image, dim)

    def remember(self, captions: Sequence[str], cache: Path) -> None:
        self.sentence_encoder.remember(self.tokenize(captions), cache)

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

    def tokenize(self, captions: Sequence[str]) -> TokenizedCaptions:
        return self.vocabulary.encode(captions)

    def check_images(self, images: Images) -> None:
        preprocessing = self.preprocessing
        if preprocessing is None:
            shape, expected = tuple(images.shape), self.dim_image
            if len(shape) < 2 or (expected is not None and shape[-1] != expected):
                raise UserError(
                    f"The image features have shape {shape}, and the model takes rows of "
                    f"{expected}: use features made as those it was trained on."
                )
            return
        side = preprocessing.crop
        if tuple(images.shape[1:]) != (3, side, side):
            raise UserError(
                f"The images have shape {tuple(images.shape)}, and the model takes pictures, "
                f"(n, 3, {side}, {side}) or a list of files: see model.preprocessing."
            )

    def merge_adapters(self) -> None:
        """Make adapters of low rank (`learn=lora`) part of the weights that they stand beside: the
        same vectors, without the library that made them."""
        sides = {"encoder": self.sentence_encoder, "image_encoder": self.image_encoder}
        for key, side in sides.items():
            if changed := side.merge():
                make = self._keys[key]
                self._keys[key] = partial(make.func, *make.args, **{**make.keywords, **changed})

    @property
    def logit(self) -> Logit | None:
        """What the training that its towers come from made of similarities; None: no such."""
        return self.sentence_encoder.logit or self.image_encoder.logit

    @property
    def preprocessing(self) -> Preprocessing | None:
        return self.image_encoder.preprocessing

    @property
    def kind(self) -> str:
        return type(self.sentence_encoder).__name__
