"""`openclip:MODEL:TAG`, `openclip:local-dir:FOLDER`, `openclip:hf-hub:NAME`: models of OpenCLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.models.dual import DualEncoder
from vse_exp.models.others import loading, needs
from vse_exp.similarity import Cosine
from vse_exp.text.vocabulary import TokenizedCaptions


class Tokens:
    """Captions as a tokenizer of OpenCLIP cuts them, all filled to the model's context length."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def encode(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Ids of all captions, as many each."""
        ids = self.tokenizer(list(captions)).numpy().astype(np.int64)
        return TokenizedCaptions(ids.ravel(), np.arange(len(ids) + 1) * ids.shape[1])


class Pictures:
    """Pictures as the model's own transform makes them: float32 (B, 3, side, side)."""

    squares, shape = False, ()

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def prepare(self, pictures: Sequence[Image]) -> Tensor:
        return torch.stack([self.transform(picture) for picture in pictures])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pictures) and repr(other.transform) == repr(self.transform)

    def __hash__(self) -> int:
        return hash(repr(self.transform))


class OpenCLIP(DualEncoder):
    """A model of OpenCLIP."""

    captions_at_once = 256

    def __init__(self, model: Any, tokens: Tokens, pictures: Pictures) -> None:
        super().__init__()
        self.model, self.tokens, self.pictures = model, tokens, pictures
        self.similarity = Cosine()
        self.logit_scale = float(model.logit_scale.detach().exp())
        self.dim = self.measured_dim()

    @property
    def preprocessing(self) -> Pictures:
        return self.pictures

    def tokenize(self, captions: Sequence[str]) -> TokenizedCaptions:
        return self.tokens.encode(captions)

    def embed_captions(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        return normalize(self.model.encode_text(tokens), dim=-1)

    def embed_images(self, images: Tensor) -> Tensor:
        return normalize(self.model.encode_image(images), dim=-1)


def load(name: str, trust: Sequence[str] = ()) -> DualEncoder:
    """`MODEL:TAG` of OpenCLIP's list, or what its own `local-dir:` and `hf-hub:` name."""
    needs("open_clip", "openclip", "openclip")
    import open_clip

    model, colon, tag = name.partition(":")
    if not colon or not tag:
        raise UserError(
            f"openclip:{name} needs a model and its weights: openclip:ViT-B-32:laion2b_s34b_b79k, "
            "or openclip:local-dir:FOLDER."
        )
    by_place = model in ("local-dir", "hf-hub")
    chosen, weights = (name, None) if by_place else (model, tag)
    with loading(f"openclip:{name}"):
        made, transform = cast(Any, open_clip.create_model_from_pretrained(chosen, weights))
        tokenizer = open_clip.get_tokenizer(chosen)
    return OpenCLIP(made, Tokens(tokenizer), Pictures(transform)).eval()
