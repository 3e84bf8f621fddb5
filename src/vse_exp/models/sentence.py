"""Sentence encoders: from word ids to the common space, before normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from vse_exp.models.bow import BagOfWords
from vse_exp.models.config import ModelConfig
from vse_exp.models.pretrained_text import PretrainedText, load_text_weights
from vse_exp.models.rnn import Recurrent
from vse_exp.models.transformer import Transformer
from vse_exp.models.word_vectors import fill_word_vectors
from vse_exp.models.words import WordEncoder

_ENCODERS = {
    "bow": BagOfWords,
    "gru": Recurrent,
    "lstm": Recurrent,
    "transformer": Transformer,
    "pretrained": PretrainedText,
}


def build_sentence_encoder(config: ModelConfig, vocab_size: int) -> WordEncoder | PretrainedText:
    """The sentence encoder that `config` names: ids (B, T) int64, and lengths (B,) or None where
    all are T long, to vectors (B, dim)."""
    return _ENCODERS[config.encoder](vocab_size, config)


def start_from_pretrained(encoder: WordEncoder | PretrainedText, words: Sequence[str]) -> None:
    """Load what `word_vectors` or `text_model` name into a new encoder of these words."""
    if isinstance(encoder, PretrainedText):
        load_text_weights(encoder)
    elif encoder.config.word_vectors is not None:
        fill_word_vectors(encoder.embedding, words, encoder.config.word_vectors)
