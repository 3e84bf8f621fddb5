"""Word vectors, looked up and trained once for each different word of a batch, and the base of the
encoders that have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from vse_exp.models.dropping import drop_words, mix_words
from vse_exp.models.initialization import initialize_embedding
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.models.word_vectors import fill_word_vectors, vector_size
from vse_exp.text.vocabulary import (
    PAD,
    TokenizedCaptions,
    Vocabulary,
    inside_mask,
)

Init = Literal["default", "original", "torch"]
"""Of word vectors uniform, but for "original"; torch's own for the rest is the default but in
recurrences."""


Dropped = Literal["unknown", "mixed"]


class WordEmbedding(nn.Embedding):
    """A table of word vectors, (vocab_size, dim_word), whose PAD row is zero and stays so.

    Where `sparse` is set, the gradient is a sparse tensor of the rows seen.
    """

    def __init__(self, vocab_size: int, dim_word: int) -> None:
        super().__init__(vocab_size, dim_word, padding_idx=PAD)

    def rows(self, words: Tensor) -> Tensor:
        """Vectors (n, dim_word) of `words`, int64 (n,), which are sorted and different."""
        return _Rows.apply(self.weight, words, self.sparse)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, words: Tensor, sparse: bool) -> Tensor:
        ctx.save_for_backward(words)
        ctx.shape, ctx.sparse = table.shape, sparse
        return table.index_select(0, words)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        (words,) = ctx.saved_tensors
        if len(words) and words[0] == PAD:
            words, grad = words[1:], grad[1:]
        if not ctx.sparse:
            return grad.new_zeros(ctx.shape).index_copy_(0, words, grad), None, None
        sparse = torch.sparse_coo_tensor(words[None], grad, ctx.shape, check_invariants=False)
        return sparse, None, None


class WordEncoder(SentenceEncoder):
    """What all encoders of words share: the word vectors, and dropping words and values.

    `word_dropout` is the share of words that training reads as unknown, or with `dropped_words` of
    "mixed" masks, exchanges or removes (VSE-infinity's), and `dropout` that of values of the
    sentence vector; `word_vectors` names a text file (GloVe's, fastText's) to start from.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        dim_word: int,
        dropout: float,
        word_dropout: float,
        dropped_words: Dropped,
        word_vectors: str | None,
        init: Init,
    ) -> None:
        super().__init__(vocab_size, dim)
        self.dim_word, self.dropout, self.word_dropout = dim_word, dropout, word_dropout
        self.word_vectors = word_vectors
        self.mask = vocab_size if dropped_words == "mixed" else None
        # a row behind all words is the masked one's
        self.embedding = WordEmbedding(vocab_size + (self.mask is not None), dim_word)
        initialize_embedding(self.embedding, init == "original")

    @classmethod
    def complete(cls, keys: Mapping[str, Any]) -> dict[str, Any]:
        if keys.get("word_vectors") is None or keys.get("dim_word", 0) is not None:
            return dict(keys)
        return {**keys, "dim_word": vector_size(keys["word_vectors"])}

    def start(self, captions: TokenizedCaptions, words: Vocabulary, cache: Path) -> None:
        if self.word_vectors is not None:
            fill_word_vectors(self.embedding, words.words, self.word_vectors)

    def sparse_tables(self) -> list[nn.Embedding]:
        return [self.embedding]

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        if len(tokens) == 0:  # a process may be left without captions to evaluate
            return self.embedding.weight.new_zeros(0, self.dim)
        if self.training and self.word_dropout:
            if self.mask is None:
                tokens = drop_words(tokens, self.word_dropout)
            else:
                tokens, lengths = mix_words(tokens, lengths, self.word_dropout, self.mask)
        return dropout(self.encode(tokens, lengths), self.dropout, self.training)

    def encode(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        raise NotImplementedError

    def on_cpu_in_full_precision(self) -> bool:
        """Whether the fast paths, which are for CPUs, apply."""
        kind = self.embedding.weight.device.type
        other = torch.is_autocast_enabled("cpu") or torch.jit.is_tracing()  # to a graph of any size
        return kind == "cpu" and not other


def different_words(tokens: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The different ids of a batch (B, T), sorted, and for each position the place of its id there.

    Positions behind a caption's end get place 0.
    """
    if lengths is None:
        words, places = np.unique(tokens.numpy(), return_inverse=True)
        return torch.from_numpy(words), torch.from_numpy(places.reshape(tokens.shape))
    inside = inside_mask(tokens, lengths)
    words, found = np.unique(tokens[inside].numpy(), return_inverse=True)
    places = torch.zeros_like(tokens)
    places[inside] = torch.from_numpy(found)
    return torch.from_numpy(words), places


def reverse(tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Each caption backwards, (B, T); what is behind its end stays there."""
    if lengths is None:
        return tokens.flip(1)
    return tokens.gather(1, reversed_positions(tokens, lengths))


def reversed_positions(tokens: Tensor, lengths: Tensor) -> Tensor:
    """For each position, int64 (B, T), that of the word as far from the other end."""
    positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    return torch.where(inside_mask(tokens, lengths), lengths[:, None] - 1 - positions, positions)
