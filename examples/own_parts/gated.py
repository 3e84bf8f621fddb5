"""An image encoder: a linear map whose outputs a second one opens and closes."""

from __future__ import annotations

from torch import Tensor, nn

from vse_exp.models.image import ImageEncoder
from vse_exp.schema import Share


class Gated(ImageEncoder):
    """`(x W + b) * sigmoid(x V + c)` of features (B, dim_image), or its mean over n regions."""

    def __init__(self, dim_image: int, dim: int, *, dropout: Share = 0.0) -> None:
        super().__init__(dim_image, dim)
        self.both = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim_image, 2 * dim), nn.GLU())

    def forward(self, images: Tensor) -> Tensor:
        vectors = self.both(images)
        return vectors.mean(1) if vectors.dim() == 3 else vectors
