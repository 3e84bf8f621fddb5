"""Small models of the program's own parts, by the short names of their files in conf/."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from vse_exp.models.bow import BagOfWords
from vse_exp.models.feature_encoders import LinearImageEncoder, MLPImageEncoder
from vse_exp.models.pooling import (
    AttentionPooling,
    FirstPooling,
    GeneralizedPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    Pooling,
    RandomPooling,
    SumPooling,
)
from vse_exp.models.rnn import GRU, LSTM
from vse_exp.models.transformer import Transformer
from vse_exp.models.vse import VSE
from vse_exp.text.vocabulary import Vocabulary

ENCODERS: dict[str, Any] = {"bow": BagOfWords, "gru": GRU, "lstm": LSTM, "transformer": Transformer}
IMAGE_ENCODERS: dict[str, Any] = {"linear": LinearImageEncoder, "mlp": MLPImageEncoder}
POOLINGS: dict[str, type[Pooling]] = {
    "sum": SumPooling,
    "mean": MeanPooling,
    "max": MaxPooling,
    "first": FirstPooling,
    "last": LastPooling,
    "attention": AttentionPooling,
    "gpo": GeneralizedPooling,
    "random": RandomPooling,
}


def encoder(name: str = "bow", pooling: str | None = None, **keys: Any) -> Any:
    """What makes a sentence encoder of (vocab_size, dim)."""
    return partial(ENCODERS[name], pooling=pooling and POOLINGS[pooling], **keys)


def image_encoder(name: str = "linear", pooling: str | None = None, **keys: Any) -> Any:
    """What makes an image encoder of (dim_image, dim)."""
    return partial(IMAGE_ENCODERS[name], pooling=pooling and POOLINGS[pooling], **keys)


def small_model(
    vocabulary: Vocabulary,
    dim_image: int = 12,
    text: Mapping[str, Any] | None = None,
    images: Mapping[str, Any] | None = None,
    **keys: Any,
) -> VSE:
    """A model of 8 dimensions: `text` and `images` are what `encoder` and `image_encoder` take."""
    return VSE(
        vocabulary,
        dim_image,
        encoder=encoder(**(text or {})),
        image_encoder=image_encoder(**(images or {})),
        **{"dim": 8, **keys},
    )
