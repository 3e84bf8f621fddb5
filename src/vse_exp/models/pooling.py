"""From several vectors to one: word states of a caption, or regions of an image."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from vse_exp.models.one_direction import run_direction
from vse_exp.parts import Part
from vse_exp.schema import Positive, Size
from vse_exp.text.vocabulary import inside_mask


class Pooling(nn.Module, Part):
    """Vectors (B, T, dim) and lengths (B,), or None where all T count, to (B, dim).

    A pooling of one's own needs `__init__(self, dim, *, keys…)`, if it has any, and `forward`.
    """

    sums = False
    """Whether it is their plain sum, which a bag of words has a quick way for."""
    takes_last = False
    """Whether it looks at the last vector alone, which a recurrence has a quick way for."""
    averages = False
    """Whether it is a plain mean, which a linear map may come before or behind."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def select(self, vectors: Tensor) -> Tensor:
        """Those of an image's vectors (B, n, d) that it will look at in training."""
        return vectors

    def compile_parts(self) -> None:
        """Told before the encoder that it is a part of is compiled."""

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        raise NotImplementedError


class SumPooling(Pooling):
    sums = True

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        return _outside(vectors, lengths, 0.0).sum(1)


class MeanPooling(Pooling):
    averages = True

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return vectors.mean(1)
        return _outside(vectors, lengths, 0.0).sum(1) / lengths[:, None]


class MaxPooling(Pooling):
    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        return _outside(vectors, lengths, -math.inf).amax(1)


class FirstPooling(Pooling):
    """The vector of the first word, which is [CLS] in some pre-trained models."""

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        return vectors[:, 0]


class LastPooling(Pooling):
    """The vector of the last word, which is <eos>."""

    takes_last = True

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return vectors[:, -1]
        return vectors.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, vectors.shape[2]))[:, 0]


class RandomPooling(MeanPooling):
    """In training one of an image's vectors, drawn anew each time, and otherwise their mean."""

    def select(self, vectors: Tensor) -> Tensor:
        batch, count, dim = vectors.shape
        if count == 1:
            return vectors
        drawn = torch.rand(batch, count, device=vectors.device).argsort(1)[:, :1]
        return vectors.gather(1, drawn[..., None].expand(-1, -1, dim))


class AttentionPooling(Pooling):
    """A mean weighted by the softmax of a learned score, `w tanh(W x)` (Lin et al. 2017, eq. 5)."""

    def __init__(self, dim: int, *, hidden: Size = 128) -> None:
        super().__init__(dim)
        self.score = nn.Sequential(
            nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False)
        )

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        weights = _outside(self.score(vectors), lengths, -math.inf).softmax(1)
        return (weights * vectors).sum(1)


class GeneralizedPooling(Pooling):
    """GPO of VSE-infinity (Chen et al. 2021, section 3.2): each feature's values are sorted, and
    weighted by place; the weights come from a small bidirectional GRU over encodings of the place.

    It can learn to be mean, max or anything between, for any number of vectors.
    """

    def __init__(
        self, dim: int, *, encoding: Size = 32, hidden: Size = 32, temperature: Positive = 0.1
    ) -> None:
        super().__init__(dim)
        self.encoding = encoding
        self.temperature = temperature
        self.places = nn.GRU(encoding, hidden, batch_first=True, bidirectional=True)
        self.score = nn.Linear(hidden, 1, bias=False)

    def compile_parts(self) -> None:
        # left out, since some versions of torch compile its loop for each number of places anew
        eager = torch.compiler.disable(GeneralizedPooling.weights)
        cast(Any, self).weights = partial(eager, self)

    def weights(self, lengths: Tensor, longest: int) -> Tensor:
        """Weights (n, longest) of the places, for sets of `lengths` (n,) vectors."""
        encoded = _sinusoids(longest, self.encoding, self.score.weight)
        forwards = run_direction(self.places, encoded[None])  # the same for all sizes
        places = torch.arange(longest, device=lengths.device)
        turned = (lengths[:, None] - 1 - places).clamp_min(0)  # any, where a set has ended
        backwards = run_direction(self.places, encoded[turned], backwards=True)
        backwards = backwards.gather(1, turned[..., None].expand_as(backwards))
        scores = _outside(self.score((forwards + backwards) / 2), lengths, -math.inf)[..., 0]
        return (scores / self.temperature).softmax(1)

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        count = vectors.shape[1]
        if lengths is None:
            size = torch.full((1,), count, dtype=torch.int64, device=vectors.device)
            weights = self.weights(size, count)
        elif lengths.device.type == "cpu" and not torch.jit.is_tracing():
            sizes, which = lengths.unique(return_inverse=True)
            weights = self.weights(sizes, count)[which]
        else:  # of all sizes, since a GPU (or a graph) would have to be asked which there are
            sizes = torch.arange(1, count + 1, device=vectors.device)
            weights = self.weights(sizes, count)[lengths - 1]
        # behind the end the lowest numbers, not -inf: their weight is zero and 0 * -inf is none
        lowest = torch.finfo(vectors.dtype).min
        ordered = _outside(vectors, lengths, lowest).sort(dim=1, descending=True).values
        return (_outside(ordered, lengths, 0.0) * weights[..., None]).sum(1)


def _outside(vectors: Tensor, lengths: Tensor | None, value: float) -> Tensor:
    """Vectors (B, T, d) with `value` behind each length."""
    if lengths is None:
        return vectors
    return vectors.masked_fill(~inside_mask(vectors, lengths)[..., None], value)


def _sinusoids(count: int, dim: int, like: Tensor) -> Tensor:
    """Sine and cosine encodings (count, dim) of places 0 … count - 1 (Vaswani et al. 2017)."""
    places = torch.arange(count, dtype=like.dtype, device=like.device)[:, None]
    rates = torch.arange(0, dim, 2, dtype=like.dtype, device=like.device) / dim
    angles = places * torch.exp(-math.log(10000.0) * rates)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
