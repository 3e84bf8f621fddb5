"""Sentence encoders: from word ids to the common space, before normalisation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from vse_exp.data.vocabulary import PAD
from vse_exp.models.config import ModelConfig
from vse_exp.models.initialization import initialize_embedding, initialize_recurrent


class BagOfWords(nn.Module):
    """The sum of the word vectors, that of <eos> among them (the original's `bow`)."""

    def __init__(self, vocab_size: int, dim: int, original_init: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=PAD)
        initialize_embedding(self.embedding, original_init)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        # PAD's row is zero, so padded captions need no mask
        return embedding_bag(tokens, self.embedding.weight, mode="sum", padding_idx=PAD)

    def prepare_inference(self) -> AbstractContextManager[None]:
        """Nothing to prepare."""
        return nullcontext()


class Recurrent(nn.Module):
    """The last state of a GRU or LSTM, after it has read <eos>."""

    def __init__(self, vocab_size: int, config: ModelConfig) -> None:
        super().__init__()
        assert config.dim_word is not None
        self.embedding = nn.Embedding(vocab_size, config.dim_word, padding_idx=PAD)
        layer = nn.GRU if config.encoder == "gru" else nn.LSTM
        self.recurrence = layer(config.dim_word, config.dim, batch_first=True)
        initialize_embedding(self.embedding, config.init == "original")
        initialize_recurrent(self.recurrence, config)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        states, _ = self.recurrence(self.embedding(tokens))
        if lengths is None:
            return states[:, -1]
        return states[torch.arange(len(tokens), device=tokens.device), lengths - 1]

    def prepare_inference(self) -> AbstractContextManager[None]:
        """Nothing to prepare."""
        return nullcontext()


def build_sentence_encoder(config: ModelConfig, vocab_size: int) -> nn.Module:
    """The sentence encoder that `config` names."""
    if config.encoder == "bow":
        return BagOfWords(vocab_size, config.dim, config.init == "original")
    return Recurrent(vocab_size, config)
