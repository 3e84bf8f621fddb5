"""Words and a pre-trained text model in one sentence encoder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.models.fusemix import FuseMix
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.parts import TARGET, locate
from vse_exp.text.joined import JoinedVocabulary, halves_of, parts_of
from vse_exp.text.subwords import SubwordVocabulary
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary

Encoder = Callable[[int, int], SentenceEncoder]


class FusedText(SentenceEncoder):
    """An encoder of words and one of a pre-trained model's pieces, together (B, dim).

    Each reads the caption in its own vocabulary (`JoinedVocabulary`), so that what the captions of
    the training teach about words stands beside what is known of sentences. Their vectors of unit
    norm stand side by side, half of the space each (`join` concat: a score is then the mean of two,
    both of which an image learns), or are added up (sum).
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        words: Encoder,
        sentences: Encoder,
        join: Literal["concat", "sum"] = "concat",
    ) -> None:
        super().__init__(vocab_size, dim)
        self.join = join
        sizes = (dim // 2, dim - dim // 2) if join == "concat" else (dim, dim)
        self.words, self.sentences = words(vocab_size, sizes[0]), sentences(vocab_size, sizes[1])

    @classmethod
    def complete(cls, keys: Mapping[str, Any]) -> dict[str, Any]:
        inside = {
            name: _class_of(keys, name).complete(keys[name]) for name in ("words", "sentences")
        }
        return {**keys, **inside}

    @classmethod
    def own_vocabulary(
        cls, keys: Mapping[str, Any], words: Callable[[], Vocabulary]
    ) -> JoinedVocabulary:
        pieces = _class_of(keys, "sentences").own_vocabulary(keys["sentences"], words)
        if not isinstance(pieces, SubwordVocabulary):
            raise UserError(
                "model.encoder.sentences has no word pieces of its own: choose a pre-trained "
                "encoder, model.encoder@model.encoder.sentences=pretrained."
            )
        return JoinedVocabulary(words(), pieces)

    def start(self, captions: TokenizedCaptions, words: Vocabulary, cache: Path) -> None:
        assert isinstance(words, JoinedVocabulary)
        of_words, of_pieces = halves_of(captions, self.vocab_size)
        self.words.start(of_words, words, cache)
        self.sentences.start(of_pieces, words.pieces, cache)

    def remember(self, captions: TokenizedCaptions, cache: Path) -> None:
        of_words, of_pieces = halves_of(captions, self.vocab_size)
        self.words.remember(of_words, cache)
        self.sentences.remember(of_pieces, cache)

    def frozen_vectors(self, captions: TokenizedCaptions) -> Tensor | None:
        return self.sentences.frozen_vectors(halves_of(captions, self.vocab_size)[1])

    def mix(self, mixing: FuseMix) -> None:
        self.words.mix(mixing)
        self.sentences.mix(mixing)

    def set_epoch(self, epoch: int) -> None:
        self.words.set_epoch(epoch)
        self.sentences.set_epoch(epoch)

    def compile_parts(self) -> None:
        self.words.compile_parts()
        self.sentences.compile_parts()

    def sparse_tables(self) -> list[nn.Embedding]:
        return [*self.words.sparse_tables(), *self.sentences.sparse_tables()]

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        words, pieces = parts_of(tokens, lengths, self.vocab_size)
        parts = [self.words(*words), self.sentences(*pieces)]
        parts = [normalize(part, dim=-1) for part in parts]
        return torch.cat(parts, 1) if self.join == "concat" else parts[0] + parts[1]


def _class_of(keys: Mapping[str, Any], name: str) -> type[SentenceEncoder]:
    found = locate(keys[name][TARGET], f"model.encoder.{name}")
    if not (inspect.isclass(found) and issubclass(found, SentenceEncoder)):
        raise UserError(f"model.encoder.{name} is no SentenceEncoder: give one as _target_.")
    return found
