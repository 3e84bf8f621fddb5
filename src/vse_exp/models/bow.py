"""The bag-of-words sentence encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vse_exp.models.fusemix import FuseMix
from vse_exp.models.pooling import Pooling, SumPooling
from vse_exp.models.prefix_tree import Groups
from vse_exp.models.words import Dropped, Init, WordEncoder, different_words
from vse_exp.schema import Share
from vse_exp.text.vocabulary import inside_mask


class BagOfWords(WordEncoder):
    """Pooled word vectors, by default their sum, <eos> among them (the original's `bow`)."""

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        pooling: Callable[[int], Pooling] | None = None,
        dropout: Share = 0.0,
        word_dropout: Share = 0.0,
        dropped_words: Dropped = "unknown",
        word_vectors: str | None = None,
        init: Init = "default",
    ) -> None:
        super().__init__(
            vocab_size, dim, dim, dropout, word_dropout, dropped_words, word_vectors, init
        )
        self.pooling = (pooling or SumPooling)(dim)

    def mix(self, mixing: FuseMix) -> None:
        if not self.pooling.sums:
            super().mix(mixing)
        self.mixing = mixing  # of sums, which is that of the counts of words

    def encode(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        if self.pooling.sums and self.on_cpu_in_full_precision():
            rows = self._sum(tokens, lengths)
        else:
            rows = self.pooling(self.embedding(tokens), lengths)
        return self.mixed(rows)

    def _sum(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """Rows are looked up and trained once for each different word of the batch."""
        words, places = different_words(tokens, lengths)
        if lengths is None:
            starts = torch.arange(0, tokens.numel(), tokens.shape[1])
            sizes: Tensor | int = tokens.shape[1]
        else:
            places = places[inside_mask(tokens, lengths)]
            starts = lengths.cumsum(0) - lengths
            sizes = lengths
        captions = Groups(places.flatten(), starts)
        by_word = Groups.of(captions.order.numpy(), len(words))
        owners = torch.arange(len(tokens)).repeat_interleave(sizes)
        by_word = Groups(owners[by_word.order], by_word.starts)
        return _GroupSums.apply(self.embedding.rows(words), captions, by_word)


class _GroupSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, groups: Groups, groups_of_row: Groups) -> Tensor:
        ctx.groups_of_row = groups_of_row
        return groups.sum(rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        return ctx.groups_of_row.sum(grad.contiguous()), None, None
