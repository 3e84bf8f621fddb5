"""The cosine of embeddings of unit norm."""

from __future__ import annotations

import torch
from torch import Tensor

from vse_exp.similarity.base import Similarity


class Cosine(Similarity):
    """Inner products of rows, which are cosines where the rows have unit norm."""

    inner_product = True

    def __call__(self, images: Tensor, captions: Tensor) -> Tensor:
        return images @ captions.T

    def block(self, images: Tensor, captions: Tensor, out: Tensor) -> Tensor:
        return torch.mm(images, captions.T, out=out)

    def pairs(self, images: Tensor, captions: Tensor) -> Tensor:
        return (images * captions).sum(1)
