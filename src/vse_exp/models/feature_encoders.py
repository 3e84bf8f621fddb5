"""The image encoders of features: a linear map, and one with a perceptron beside it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vse_exp.models.image import Blocks, ImageEncoder
from vse_exp.models.pooling import MeanPooling, Pooling
from vse_exp.models.projection import Projection
from vse_exp.schema import Share, Size, UpToOne


class _FeatureEncoder(Projection, ImageEncoder):
    """Each vector is prepared and mapped by itself (`Projection`), then those of an image pooled.

    `region_dropout`: the share of regions or views that training leaves out, drawn anew each time.
    """

    def __init__(
        self,
        dim_image: int,
        dim: int,
        pooling: Callable[[int], Pooling] | None,
        region_dropout: float,
        **projection: float | None,
    ) -> None:
        ImageEncoder.__init__(self, dim_image, dim)
        self.add_projection(dim_image, dim, **projection)  # type: ignore[arg-type]  # the keys below
        self.region_dropout = region_dropout
        self.pooling = (pooling or MeanPooling)(dim)

    def start(self, images: Blocks, seed: int) -> None:
        self.fit_mean(images())

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() == 3 and self.training:
            images = self.pooling.select(self._drop_regions(images))
        vectors = self.prepare(images)
        if vectors.dim() == 2:
            return self.project(vectors)
        if self.mlp is None and self.pooling.averages:
            return self.project(vectors.mean(1))  # the same, with fewer products
        return self.pooling(self.project(vectors))

    def _drop_regions(self, regions: Tensor) -> Tensor:
        """Of each image's vectors (B, n, d) those that training sees."""
        batch, count, dim = regions.shape
        kept = max(1, round(count * (1 - self.region_dropout)))
        if kept == count:
            return regions
        drawn = torch.rand(batch, count, device=regions.device).argsort(1)[:, :kept]
        return regions.gather(1, drawn[..., None].expand(-1, -1, dim))


class LinearImageEncoder(_FeatureEncoder):
    """A linear map of each vector: the original's (model.py)."""

    def __init__(
        self,
        dim_image: int,
        dim: int,
        *,
        pooling: Callable[[int], Pooling] | None = None,
        region_dropout: Share = 0.0,
        dropout: Share = 0.0,
        power: UpToOne = 1.0,
        center: bool = False,
    ) -> None:
        prepared = {"dropout": dropout, "power": power, "center": center}
        super().__init__(dim_image, dim, pooling, region_dropout, **prepared)


class MLPImageEncoder(_FeatureEncoder):
    """The same with a perceptron of one hidden layer beside the linear map."""

    def __init__(
        self,
        dim_image: int,
        dim: int,
        *,
        hidden: Size = 1024,
        hidden_dropout: Share = 0.0,
        pooling: Callable[[int], Pooling] | None = None,
        region_dropout: Share = 0.0,
        dropout: Share = 0.0,
        power: UpToOne = 1.0,
        center: bool = False,
    ) -> None:
        prepared = {"dropout": dropout, "power": power, "center": center}
        perceptron = {"hidden": hidden, "hidden_dropout": hidden_dropout}
        super().__init__(dim_image, dim, pooling, region_dropout, **prepared, **perceptron)
