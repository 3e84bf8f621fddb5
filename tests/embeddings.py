"""Random pairs of embeddings for tests of losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def random_pairs(n: int, dim: int = 6, seed: int = 0, images: int | None = None):
    """Unit rows (n, dim), float64, of images and captions, and image ids (n,) below `images`."""
    generator = torch.Generator().manual_seed(seed)

    def rows() -> Tensor:
        return normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64))

    ids = torch.randint(images or 10 * n, (n,), generator=generator)
    return rows().requires_grad_(), rows().requires_grad_(), ids
