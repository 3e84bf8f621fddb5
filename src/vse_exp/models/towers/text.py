"""The text tower of another library's dual encoder as a sentence encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vse_exp.models.sentence import SentenceEncoder
from vse_exp.models.towers.library import library
from vse_exp.models.towers.tower import Learn, Tower, found
from vse_exp.schema import Count, Positive, Share, Size
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary, inside_mask


class TextTower(Tower, SentenceEncoder):
    """Ids of pieces (B, T) int64 to what the library's own call gives for them, (B, dim).

    The architecture goes into the keys, the tokenizer into a SubwordVocabulary, the weights into
    the state, so that a checkpoint needs the model's folder no more. See `Tower` for the keys.
    """

    side = "text"

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        model: str | None = None,
        learn: Learn = "all",
        unfreeze_epoch: Count = 0,
        gradient_checkpointing: bool = False,
        lora_rank: Size = 8,
        lora_alpha: Positive = 16.0,
        lora_dropout: Share = 0.0,
        architecture: dict[str, Any] | None = None,
    ) -> None:
        SentenceEncoder.__init__(self, vocab_size, dim)
        self.model = model
        self.add_tower(
            dim, architecture, learn, unfreeze_epoch, gradient_checkpointing,
            lora_rank, lora_alpha, lora_dropout,
        )  # fmt: skip

    @classmethod
    def complete(cls, keys: Mapping[str, Any]) -> dict[str, Any]:
        return {**keys, "architecture": found(keys, cls.side)[0]}

    @classmethod
    def own_vocabulary(cls, keys: Mapping[str, Any], words: Callable[[], Vocabulary]) -> Vocabulary:
        architecture, place = found(keys, cls.side)
        return library(architecture).read_vocabulary(place)

    @classmethod
    def own_dim(cls, keys: Mapping[str, Any]) -> int:
        return library(keys["architecture"]).dim(keys["architecture"]["config"])

    def start(self, captions: TokenizedCaptions, words: Vocabulary, cache: Path) -> None:
        self.load_tower(found({"model": self.model}, self.side)[1])

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        mask = None if lengths is None else inside_mask(tokens, lengths).long()
        return self.library.encode_text(self.tower, tokens, mask)
