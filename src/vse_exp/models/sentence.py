"""Sentence encoders: from word ids to the common space, before normalisation."""

from __future__ import annotations

from torch import nn

from vse_exp.models.bow import BagOfWords
from vse_exp.models.config import ModelConfig
from vse_exp.models.rnn import Recurrent
from vse_exp.models.transformer import Transformer


def build_sentence_encoder(config: ModelConfig, vocab_size: int) -> nn.Module:
    """The sentence encoder that `config` names: ids (B, T) int64, and lengths (B,) or None where
    all are T long, to vectors (B, dim)."""
    kinds = {"bow": BagOfWords, "gru": Recurrent, "lstm": Recurrent, "transformer": Transformer}
    return kinds[config.encoder](vocab_size, config)
