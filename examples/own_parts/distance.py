"""A similarity: the nearer, the more alike."""

from __future__ import annotations

import torch
from torch import Tensor

from vse_exp.similarity import Similarity


class Distance(Similarity):
    """Minus the Euclidean distance of embeddings (n, d) and (m, d)."""

    def __call__(self, images: Tensor, captions: Tensor) -> Tensor:
        return -torch.cdist(images, captions)
