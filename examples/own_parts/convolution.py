"""A sentence encoder: convolutions over neighbouring words (Kim, EMNLP 2014)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vse_exp.models.pooling import MaxPooling, Pooling
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.schema import Share, Size


class Convolution(SentenceEncoder):
    """Word vectors, a convolution of each width over them, and a pooling over the places.

    The names behind the `*` are the keys of its YAML.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        dim_word: Size = 300,
        widths: list[int] | None = None,
        pooling: Callable[[int], Pooling] | None = None,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__(vocab_size, dim)
        widths = widths or [3]
        self.embedding = nn.Embedding(vocab_size, dim_word, padding_idx=0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dim_word, dim, width, padding="same") for width in widths
        )
        self.pooling = (pooling or MaxPooling)(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        words = self.embedding(tokens).transpose(1, 2)
        summed = torch.stack([each(words) for each in self.convolutions]).sum(0)
        return self.dropout(self.pooling(summed.relu().transpose(1, 2), lengths))
