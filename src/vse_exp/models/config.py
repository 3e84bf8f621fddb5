"""What a model is made of, as plain fields with the mistakes told early."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from vse_exp.errors import UserError

ENCODERS = ("bow", "gru", "lstm")
IMAGE_ENCODERS = ("linear",)
SIMILARITIES = ("cosine", "order")
INITS = ("default", "original")


@dataclass(frozen=True)
class ModelConfig:
    """The keys of the `model` group."""

    encoder: str = "gru"
    """Sentence encoder, one of ENCODERS."""
    dim: int = 1024
    """Size of the common space, and of the recurrent state."""
    dim_word: int | None = None
    """Size of word vectors; None: 300, and `dim` for bow, whose word vectors are its output."""
    dim_image: int | None = None
    """Size of an image feature vector; None: read from the data."""
    image_encoder: str = "linear"
    """Image encoder, one of IMAGE_ENCODERS."""
    recurrent_bias: bool = False
    """A second bias on the recurrent product (torch's and VSE++'s GRU; the original has none)."""
    center_images: bool = False
    """Subtract the training images' mean from features and normalise them again."""
    normalize_images: bool = True
    """Unit-norm images also in the loss; False is the original's (always True for encoding)."""
    similarity: str = "cosine"
    """How pairs are scored: cosine, or minus the order violation."""
    absolute: bool = False
    """Take absolute values of embeddings (order embeddings)."""
    init: str = "default"
    """Initial weights: `default`, or `original` (layers of the 2014 program)."""
    eps: float = 1e-8
    """Smallest norm that is divided by; 0 is the original's."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Build and check. UserError for unknown keys or values, and for sizes that contradict."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean model.{close[0]}?" if close else f"known: {', '.join(known)}."
                raise UserError(f"Unknown key model.{key}: {hint}")
        config = cls(**values)
        _check_choice("encoder", config.encoder, ENCODERS)
        _check_choice("image_encoder", config.image_encoder, IMAGE_ENCODERS)
        _check_choice("similarity", config.similarity, SIMILARITIES)
        _check_choice("init", config.init, INITS)
        for name in ("dim", "dim_word", "dim_image"):
            size = getattr(config, name)
            if size is not None and size < 1:
                raise UserError(f"model.{name} is {size}, and must be at least 1.")
        if config.encoder == "bow" and config.dim_word not in (None, config.dim):
            raise UserError(
                f"model.dim_word={config.dim_word} contradicts model.dim={config.dim}: with "
                "model.encoder=bow they are one size, so leave out model.dim_word."
            )
        if config.dim_word is None:
            config = replace(config, dim_word=config.dim if config.encoder == "bow" else 300)
        return config

    def resolve(self, dim_image: int) -> ModelConfig:
        """The same with the image size of the data. UserError where another one was typed."""
        if self.dim_image not in (None, dim_image):
            raise UserError(
                f"model.dim_image={self.dim_image}, and the image features have {dim_image}: "
                "leave out model.dim_image, which is read from the data."
            )
        return replace(self, dim_image=dim_image)


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"Unknown model.{key}={value}: choose one of {', '.join(choices)}.")
