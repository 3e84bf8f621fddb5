"""A pooling: between the mean and the largest value of each dimension."""

from __future__ import annotations

from torch import Tensor

from vse_exp.models.pooling import Pooling
from vse_exp.schema import Positive
from vse_exp.text.vocabulary import inside_mask


class SoftmaxPooling(Pooling):
    """Each dimension's mean, weighted by the softmax of its values over `temperature`."""

    def __init__(self, dim: int, *, temperature: Positive = 1.0) -> None:
        super().__init__(dim)
        self.temperature = temperature

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        scores = vectors / self.temperature
        if lengths is not None:  # places behind a caption's end do not count
            inside = inside_mask(vectors, lengths)[..., None]
            scores = scores.masked_fill(~inside, float("-inf"))
        return (scores.softmax(1) * vectors).sum(1)
