"""What a sentence encoder is: from ids of words to the common space, before normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vse_exp.models.encoder import Encoder
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary


class SentenceEncoder(Encoder):
    """Ids (B, T) int64, and lengths (B,) or None where all are T long, to vectors (B, dim).

    An encoder of one's own needs `__init__(self, vocab_size, dim, *, keys…)` and `forward`; the
    other methods say what some encoders can do beside that.
    """

    def __init__(self, vocab_size: int, dim: int) -> None:
        super().__init__()
        self.vocab_size, self.dim = vocab_size, dim

    @classmethod
    def complete(cls, keys: Mapping[str, Any]) -> dict[str, Any]:
        """Its keys with what follows from files that they name.

        Before a training, and never for a checkpoint, which is complete.
        """
        return dict(keys)

    @classmethod
    def own_vocabulary(cls, keys: Mapping[str, Any], words: Callable[[], Vocabulary]) -> Vocabulary:
        """What it reads captions in: `words()`, of the training captions, or what it brings."""
        return words()

    def start(self, captions: TokenizedCaptions, words: Vocabulary, cache: Path) -> None:
        """Told once before a training: given weights go in, and means of the training captions.

        `cache`: a folder for what other trainings can use again.
        """

    def remember(self, captions: TokenizedCaptions, cache: Path) -> None:
        """Told after `start` what other captions it will be asked for, again and again."""

    def frozen_vectors(self, captions: TokenizedCaptions) -> Tensor | None:
        """What a frozen text model inside gives for these captions, (n, d); None without one."""
        return None

    def sparse_tables(self) -> list[nn.Embedding]:
        """Embedding tables whose gradient can be one of the rows seen (`sparse`)."""
        return []

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        raise NotImplementedError
