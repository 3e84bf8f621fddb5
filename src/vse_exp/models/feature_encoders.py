"""The image encoders of features: a linear map, and one with a perceptron beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from vse_exp.models.dropping import drop_regions
from vse_exp.models.image import Blocks, ImageEncoder
from vse_exp.models.pooling import MeanPooling, Pooling
from vse_exp.models.projection import Activation, Projection, Start
from vse_exp.schema import Share, Size, UpToOne


class _FeatureEncoder(Projection, ImageEncoder):
    """Each vector is prepared and mapped by itself (`Projection`), then those of an image pooled.

    `region_dropout`: with what probability training leaves out a region or view.
    """

    def __init__(
        self,
        dim_image: int,
        dim: int,
        pooling: Callable[[int], Pooling] | None,
        region_dropout: float,
        **projection: Any,
    ) -> None:
        ImageEncoder.__init__(self, dim_image, dim)
        self.add_projection(dim_image, dim, **projection)
        self.region_dropout = region_dropout
        self.pooling = (pooling or MeanPooling)(dim)

    def start(self, images: Blocks, seed: int) -> None:
        self.fit_mean(images())

    def compile_parts(self) -> None:
        self.pooling.compile_parts()
        super().compile_parts()

    def forward(self, images: Tensor) -> Tensor:
        images, lengths = self.mixed(images), None
        if images.dim() == 3 and self.training:
            images = self.pooling.select(images)
            if self.region_dropout and images.shape[1] > 1:
                images, lengths = drop_regions(images, self.region_dropout)
        return self.pool(self.prepare(images), lengths)

    def pool(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Prepared vectors (B, size), or (B, n, size) of which `lengths` count, to (B, dim)."""
        if vectors.dim() == 2:
            return self.project(vectors)
        if self.mlp is None and self.pooling.averages:
            return self.project(self.pooling(vectors, lengths))  # the same, with fewer products
        return self.pooling(self.project(vectors), lengths)


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
    """The same with a perceptron of one hidden layer beside the linear map.

    VSE-infinity's has `activation="relu", batch_norm=True, init="torch"`.
    """

    def __init__(
        self,
        dim_image: int,
        dim: int,
        *,
        hidden: Size = 1024,
        hidden_dropout: Share = 0.0,
        activation: Activation = "gelu",
        batch_norm: bool = False,
        init: Start = "zero",
        pooling: Callable[[int], Pooling] | None = None,
        region_dropout: Share = 0.0,
        dropout: Share = 0.0,
        power: UpToOne = 1.0,
        center: bool = False,
    ) -> None:
        prepared = {"dropout": dropout, "power": power, "center": center}
        perceptron = {"hidden": hidden, "hidden_dropout": hidden_dropout}
        perceptron |= {"activation": activation, "batch_norm": batch_norm, "init": init}
        super().__init__(dim_image, dim, pooling, region_dropout, **prepared, **perceptron)
