"""Image encoders: from image features to the common space, before normalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.models.config import ModelConfig
from vse_exp.models.pooling import build_pooling
from vse_exp.models.projection import Projection

if TYPE_CHECKING:
    from vse_exp.models.backbone import BackboneImageEncoder

SMALLEST_SIZE = 1e-4
"""Of feature values, where a power is taken of those that a backbone learns."""


class ImageEncoder(Projection):
    """Features (B, dim_image), or (B, n, dim_image) of n regions or views, to vectors (B, dim).

    Each vector is mapped by itself (`Projection`), then those of an image are pooled.
    """

    def __init__(self, config: ModelConfig) -> None:
        assert config.dim_image is not None
        super().__init__(
            config.dim_image,
            config.dim,
            center=config.center_images,
            dropout=config.image_dropout,
            hidden=config.mlp_hidden if config.image_encoder == "mlp" else None,
            hidden_dropout=config.mlp_dropout,
        )
        self.config = config
        pooling = "mean" if config.image_pooling == "random" else config.image_pooling
        self.pooling = build_pooling(pooling, config.dim)

    def even_out(self, vectors: Tensor) -> Tensor:
        if self.config.image_power == 1:
            return vectors
        sizes = vectors.abs()
        if vectors.requires_grad:  # at 0 a power below 1 has no derivative
            sizes = sizes.clamp_min(SMALLEST_SIZE)
        return normalize(vectors.sign() * sizes**self.config.image_power, dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        if features.dim() == 3 and self.training:
            features = self._some(features)
        features = self.prepare(features)
        if features.dim() == 2:
            return self.project(features)
        if self.mlp is None and self.config.image_pooling in ("mean", "random"):
            return self.project(features.mean(1))  # the same, with fewer products
        return self.pooling(self.project(features))

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


def build_image_encoder(config: ModelConfig) -> ImageEncoder | BackboneImageEncoder:
    """The image encoder that `config` names; its `dim_image` must be known.

    A backbone's weights are random: those of training's start, or of a checkpoint, go in later.
    """
    if config.image_encoder != "backbone":
        return ImageEncoder(config)
    from vse_exp.models.backbone import BackboneImageEncoder

    head = ImageEncoder(replace(config, image_encoder=config.backbone_head))
    return BackboneImageEncoder.build(config, head)
