"""Captions as words and as the pieces of a pre-trained text model, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.text.subwords import SubwordVocabulary
from vse_exp.text.vocabulary import PAD, TokenizedCaptions, Vocabulary, inside_mask, without_filling


class JoinedVocabulary(Vocabulary):
    """A caption is its ids in `words` and behind them those in `pieces`, each raised by the number
    of word ids; so one sequence of ids goes the way of any caption, and `halves_of` and
    `parts_of` take it apart.
    """

    def __init__(self, words: Vocabulary, pieces: SubwordVocabulary) -> None:
        super().__init__(words.words, words.tokenizer, words.prefix)
        self.pieces = pieces

    def encode(self, captions: Sequence[str]) -> TokenizedCaptions:
        words, pieces = super().encode(captions), self.pieces.encode(captions)
        offsets = words.offsets + pieces.offsets
        tokens = np.empty(int(offsets[-1]), dtype=np.int64)
        # each id moves behind all ids of the other half that come before its caption's own
        of_word = np.repeat(pieces.offsets[:-1], words.lengths)
        of_piece = np.repeat(words.offsets[1:], pieces.lengths)
        tokens[np.arange(len(words.tokens)) + of_word] = words.tokens
        tokens[np.arange(len(pieces.tokens)) + of_piece] = pieces.tokens + len(self)
        return TokenizedCaptions(tokens, offsets)

    def word_counts(self, captions: TokenizedCaptions) -> np.ndarray:
        return super().word_counts(halves_of(captions, len(self))[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for a checkpoint."""
        return {"words": super().to_dict(), "pieces": self.pieces.to_dict()}

    @classmethod
    def from_dict(
        cls, state: Mapping[str, Any], trust: Sequence[str] | None = None
    ) -> JoinedVocabulary:
        words = Vocabulary.from_dict(state["words"], trust)
        return cls(words, SubwordVocabulary.from_dict(state["pieces"]))


def halves_of(
    captions: TokenizedCaptions, n_words: int
) -> tuple[TokenizedCaptions, TokenizedCaptions]:
    """Joined captions in words and in pieces, where `n_words` word ids are known."""
    of_words = captions.tokens < n_words
    before = np.concatenate([[0], of_words.cumsum()])[captions.offsets]
    words = TokenizedCaptions(captions.tokens[of_words], before)
    pieces = captions.tokens[~of_words] - n_words
    return words, TokenizedCaptions(pieces, captions.offsets - before)


Part = tuple[Tensor, Tensor]
"""Ids (B, T) int64 and lengths (B,) int64."""


def parts_of(tokens: Tensor, lengths: Tensor | None, n_words: int) -> tuple[Part, Part]:
    """Word ids and piece ids of joined captions (B, T), where `n_words` word ids are known."""
    if lengths is None:
        lengths = tokens.new_full((len(tokens),), tokens.shape[1])
    of_words = (tokens < n_words) & inside_mask(tokens, lengths)
    sizes = of_words.sum(1)
    places = torch.arange(tokens.shape[1], device=tokens.device)
    words = tokens.masked_fill(~of_words, PAD)
    rest = lengths - sizes
    moved = (sizes[:, None] + places).clamp_max(tokens.shape[1] - 1)
    pieces = tokens.gather(1, moved) - n_words
    pieces = pieces.masked_fill(places >= rest[:, None], PAD)
    return (without_filling(words, sizes), sizes), (without_filling(pieces, rest), rest)


def vocabulary_from_dict(
    state: Mapping[str, Any], trust: Sequence[str] | None = None
) -> Vocabulary:
    """The vocabulary whose `to_dict` a checkpoint holds; `trust` as for `parts.build`."""
    if "pieces" in state:
        return JoinedVocabulary.from_dict(state, trust)
    kind = SubwordVocabulary if "tokenizer_json" in state else Vocabulary
    return kind.from_dict(state, trust)
