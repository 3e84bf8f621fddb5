"""From vectors that something else made (image features, sentence vectors) to the common space."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from vse_exp.models.batch_norm import WholeBatchNorm
from vse_exp.models.fusemix import FuseMix

Activation = Literal["gelu", "relu"]
Start = Literal["zero", "torch"]
SMALLEST_SIZE = 1e-4
"""Of values that a backbone learns, where a power is taken of them: at 0 it has no derivative."""


class Projection(nn.Module):
    """Vectors (..., size) to (..., dim): `x W + b` (Kiros et al. 2014, eq. 1), and with `hidden`
    units a perceptron of one hidden layer beside it (VSE-infinity), of which training drops the
    share `hidden_dropout`; `batch_norm` comes before its `activation`, and `init` is how its last
    layer starts.

    `prepare` comes before: power normalisation (values to that power, signs kept, and unit norm:
    Perronnin et al. 2010); with `center` the mean of all training vectors is taken off, and the
    rest brought to a length of sqrt(size), values of about unit variance, which weights and GELU
    are made for. Training drops the share `dropout` of the values.

    A base for encoders: they call `add_projection` in their `__init__`.
    """

    mean: Tensor
    mixing: FuseMix | None

    def add_projection(
        self,
        size: int,
        dim: int,
        center: bool = False,
        power: float = 1.0,
        dropout: float = 0.0,
        hidden: int | None = None,
        hidden_dropout: float = 0.0,
        activation: Activation = "gelu",
        batch_norm: bool = False,
        init: Start = "zero",
    ) -> None:
        self.center, self.power, self.value_dropout = center, power, dropout
        if center:
            self.register_buffer("mean", torch.zeros(size))
        self.projection = nn.Linear(size, dim)
        # the original's xavier_weight, and zero bias
        bound = math.sqrt(6.0 / (size + dim))
        nn.init.uniform_(self.projection.weight, -bound, bound)
        nn.init.zeros_(self.projection.bias)
        self.mlp = None
        if hidden is not None:
            first = nn.Linear(size, hidden)
            between: nn.Module = nn.ReLU() if activation == "relu" else nn.GELU()
            if batch_norm:
                between = nn.Sequential(WholeBatchNorm(hidden), between)
            last = nn.Linear(hidden, dim)
            if init == "zero":  # so that training starts from the linear map
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
            self.mlp = nn.Sequential(first, between, nn.Dropout(hidden_dropout), last)

    @torch.no_grad()
    def fit_mean(self, blocks: Iterable[Tensor]) -> None:
        """Store the mean of all training vectors, given in blocks of rows, where it is needed."""
        if not self.center:
            return
        total, count = torch.zeros(self.mean.shape, dtype=torch.float64), 0
        for block in blocks:
            rows = self._power_normalize(block).reshape(-1, len(self.mean))
            total += rows.double().sum(0)
            count += len(rows)
        self.mean.copy_((total / count).float())

    def mix(self, mixing: FuseMix) -> None:
        self.mixing = mixing

    def prepare(self, vectors: Tensor) -> Tensor:
        vectors = self._power_normalize(vectors)
        if self.center:
            vectors = normalize(vectors - self.mean, dim=-1) * math.sqrt(len(self.mean))
        return dropout(vectors, self.value_dropout, self.training)

    def project(self, vectors: Tensor) -> Tensor:
        mapped = self.projection(vectors)
        if self.mlp is None:
            return mapped
        rows = vectors.flatten(0, -2)  # all of which a batch normalisation takes in
        return mapped + self.mlp(rows).view_as(mapped)

    def _power_normalize(self, vectors: Tensor) -> Tensor:
        if self.power == 1:
            return vectors
        sizes = vectors.abs()
        if vectors.requires_grad:
            sizes = sizes.clamp_min(SMALLEST_SIZE)
        return normalize(vectors.sign() * sizes**self.power, dim=-1)
