"""Image encoders: from image features to the common space, before normalisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vse_exp.models.config import ModelConfig


class LinearImageEncoder(nn.Module):
    """`x W + b` (Kiros et al. 2014, eq. 1), of features (B, dim_image) to (B, dim).

    With `center`, features have the training images' mean taken off and are of unit norm again.
    """

    mean: Tensor

    def __init__(self, dim_image: int, dim: int, center: bool = False) -> None:
        super().__init__()
        self.center = center
        self.projection = nn.Linear(dim_image, dim)
        # the original's xavier_weight, and zero bias
        bound = math.sqrt(6.0 / (dim_image + dim))
        nn.init.uniform_(self.projection.weight, -bound, bound)
        nn.init.zeros_(self.projection.bias)
        if center:
            self.register_buffer("mean", torch.zeros(dim_image))

    def set_mean(self, mean: Tensor) -> None:
        """Store the mean feature vector (dim_image,) of the training images."""
        self.mean.copy_(mean)

    def forward(self, features: Tensor) -> Tensor:
        if self.center:
            features = normalize(features - self.mean, dim=-1)
        return self.projection(features)


def build_image_encoder(config: ModelConfig) -> nn.Module:
    """The image encoder that `config` names; its `dim_image` must be known."""
    assert config.dim_image is not None
    return LinearImageEncoder(config.dim_image, config.dim, config.center_images)
