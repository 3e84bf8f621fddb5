"""Image encoders: from image features to the common space, before normalisation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from vse_exp.models.config import ModelConfig
from vse_exp.models.pooling import build_pooling


class ImageEncoder(nn.Module):
    """Features (B, dim_image), or (B, n, dim_image) of n regions or views, to vectors (B, dim).

    `linear`: `x W + b` (Kiros et al. 2014, eq. 1). `mlp`: a perceptron of one hidden layer beside
    it (VSE-infinity). Several vectors an image are mapped each and then pooled.
    """

    mean: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.dim_image is not None
        self.config = config
        if config.center_images:
            self.register_buffer("mean", torch.zeros(config.dim_image))
        self.projection = nn.Linear(config.dim_image, config.dim)
        # the original's xavier_weight, and zero bias
        bound = math.sqrt(6.0 / (config.dim_image + config.dim))
        nn.init.uniform_(self.projection.weight, -bound, bound)
        nn.init.zeros_(self.projection.bias)
        self.mlp = _perceptron(config) if config.image_encoder == "mlp" else None
        pooling = "mean" if config.image_pooling == "random" else config.image_pooling
        self.pooling = build_pooling(pooling, config.dim)

    @torch.no_grad()
    def center_on(self, blocks: Iterable[Tensor]) -> None:
        """Store the mean vector of all training features, given in blocks of rows."""
        total, count = torch.zeros(self.mean.shape, dtype=torch.float64), 0
        for block in blocks:
            rows = self._even_out(block).reshape(-1, len(self.mean))
            total += rows.double().sum(0)
            count += len(rows)
        self.mean.copy_(total / count)

    def _even_out(self, features: Tensor) -> Tensor:
        if self.config.image_power == 1:
            return features
        return normalize(features.sign() * features.abs() ** self.config.image_power, dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        if features.dim() == 3 and self.training:
            features = self._some(features)
        features = self._even_out(features)
        if self.config.center_images:
            features = normalize(features - self.mean, dim=-1)
        features = dropout(features, self.config.image_dropout, self.training)
        if features.dim() == 2:
            return self._map(features)
        if self.mlp is None and self.config.image_pooling in ("mean", "random"):
            return self._map(features.mean(1))  # the same, with fewer products
        return self.pooling(self._map(features))

    def _map(self, features: Tensor) -> Tensor:
        mapped = self.projection(features)
        return mapped if self.mlp is None else mapped + self.mlp(features)

    def _some(self, features: Tensor) -> Tensor:
        """Of each image's vectors (B, n, d) those that training sees, drawn anew each time."""
        batch, count, _ = features.shape
        kept = 1
        if self.config.image_pooling != "random":
            kept = max(1, round(count * (1 - self.config.region_dropout)))
        if kept == count:
            return features
        drawn = torch.rand(batch, count, device=features.device).argsort(1)[:, :kept]
        return features.gather(1, drawn[..., None].expand(-1, -1, features.shape[2]))


def _perceptron(config: ModelConfig) -> nn.Module:
    assert config.dim_image is not None
    last = nn.Linear(config.mlp_hidden, config.dim)
    # so that training starts from the linear map
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    first = nn.Linear(config.dim_image, config.mlp_hidden)
    return nn.Sequential(first, nn.GELU(), nn.Dropout(config.mlp_dropout), last)


def build_image_encoder(config: ModelConfig) -> ImageEncoder:
    """The image encoder that `config` names; its `dim_image` must be known."""
    return ImageEncoder(config)
