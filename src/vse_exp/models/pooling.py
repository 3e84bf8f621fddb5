"""From several vectors to one: word states of a caption, or regions of an image."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from vse_exp.models.words import inside_mask

# All take vectors (B, T, d) and lengths (B,), or None where all T count, and give (B, d).


class SumPooling(nn.Module):
    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        return _outside(vectors, lengths, 0.0).sum(1)


class MeanPooling(nn.Module):
    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return vectors.mean(1)
        return _outside(vectors, lengths, 0.0).sum(1) / lengths[:, None]


class MaxPooling(nn.Module):
    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        return _outside(vectors, lengths, -math.inf).amax(1)


class FirstPooling(nn.Module):
    """The vector of the first word, which is [CLS] in some pre-trained models."""

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        return vectors[:, 0]


class LastPooling(nn.Module):
    """The vector of the last word, which is <eos>."""

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return vectors[:, -1]
        return vectors.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, vectors.shape[2]))[:, 0]


class AttentionPooling(nn.Module):
    """A mean weighted by the softmax of a learned score, `w tanh(W x)` (Lin et al. 2017, eq. 5)."""

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False)
        )

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        weights = _outside(self.score(vectors), lengths, -math.inf).softmax(1)
        return (weights * vectors).sum(1)


class GeneralizedPooling(nn.Module):
    """GPO of VSE-infinity (Chen et al. 2021, section 3.2): each feature's values are sorted, and
    weighted by place; the weights come from a small bidirectional GRU over encodings of the place.

    It can learn to be mean, max or anything between, for any number of vectors.
    """

    def __init__(self, encoding: int = 32, hidden: int = 32, temperature: float = 0.1) -> None:
        super().__init__()
        self.encoding = encoding
        self.temperature = temperature
        self.places = nn.GRU(encoding, hidden, batch_first=True, bidirectional=True)
        self.score = nn.Linear(hidden, 1, bias=False)

    def weights(self, lengths: Tensor) -> Tensor:
        """Weights (n, longest) of the places, for sets of `lengths` (n,) vectors."""
        longest = int(lengths.max())
        encoded = _sinusoids(longest, self.encoding, self.score.weight)
        packed = pack_padded_sequence(
            encoded.expand(len(lengths), -1, -1), lengths.cpu(), True, enforce_sorted=False
        )
        states, _ = pad_packed_sequence(self.places(packed)[0], batch_first=True)
        states = states.unflatten(2, (2, -1)).mean(2)
        scores = _outside(self.score(states), lengths, -math.inf)[..., 0]
        return (scores / self.temperature).softmax(1)

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            sizes = torch.tensor([vectors.shape[1]], device=vectors.device)
            weights = self.weights(sizes)
        else:
            sizes, which = lengths.unique(return_inverse=True)
            weights = self.weights(sizes)[which]
            vectors = vectors[:, : weights.shape[1]]
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


_POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "sum": lambda dim: SumPooling(),
    "mean": lambda dim: MeanPooling(),
    "max": lambda dim: MaxPooling(),
    "first": lambda dim: FirstPooling(),
    "last": lambda dim: LastPooling(),
    "attention": AttentionPooling,
    "gpo": lambda dim: GeneralizedPooling(),
}
POOLINGS = tuple(_POOLINGS)


def build_pooling(name: str, dim: int) -> nn.Module:
    """The pooling called `name`, for vectors of size `dim`."""
    return _POOLINGS[name](dim)
