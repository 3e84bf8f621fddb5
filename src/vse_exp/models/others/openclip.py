"""`openclip:MODEL:TAG`, `openclip:local-dir:FOLDER`, `openclip:hf-hub:NAME`: models of OpenCLIP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.models.dual import DualEncoder
from vse_exp.models.others import OtherEncoder, Pictures, loading, needs
from vse_exp.text.vocabulary import TokenizedCaptions


class OpenCLIP(OtherEncoder):
    """A model of OpenCLIP."""

    def embed_captions(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        return normalize(self.model.encode_text(tokens), dim=-1)

    def embed_images(self, images: Tensor) -> Tensor:
        return normalize(self.model.encode_image(images), dim=-1)


def _tokens(tokenizer: Any, captions: Sequence[str]) -> TokenizedCaptions:
    """Ids of all captions, each filled to the model's context length."""
    ids = tokenizer(list(captions)).numpy().astype(np.int64)
    return TokenizedCaptions(ids.ravel(), np.arange(len(ids) + 1) * ids.shape[1])


def _cut(transform: Any, pictures: Sequence[Image]) -> Tensor:
    """Pictures as the model's own transform makes them: float32 (B, 3, side, side)."""
    return torch.stack([transform(picture) for picture in pictures])


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
    return OpenCLIP(made, partial(_tokens, tokenizer), Pictures(partial(_cut, transform))).eval()
