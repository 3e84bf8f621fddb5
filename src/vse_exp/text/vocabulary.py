"""Words to ids: tokenisation, the vocabulary, and captions stored as one flat array of ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.files import read_lines
from vse_exp.parts import build, part_spec
from vse_exp.text.tokenizers import Tokenizer, Words

PAD, EOS, UNK = 0, 1, 2
"""Ids that are no words: filling after a caption's end, end of sentence, unknown word."""
FIRST_WORD = 3


@dataclass(frozen=True)
class TokenizedCaptions:
    """Captions as ids, one after the other: caption i is `tokens[offsets[i]:offsets[i + 1]]`.

    `tokens` int64 (total,), `offsets` int64 (n + 1,). Every caption ends with EOS.
    """

    tokens: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]]) -> TokenizedCaptions:
        """From the ids of each caption."""
        offsets = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in ids], out=offsets[1:])
        tokens = np.fromiter((i for one in ids for i in one), np.int64, int(offsets[-1]))
        return cls(tokens, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Ids a caption, EOS included, int64 (n,)."""
        return np.diff(self.offsets)

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Ids (B, T) of the captions `indices`, and their lengths (B,), or None where all equal T.

        Shorter captions are filled with PAD behind their EOS.
        """
        starts = self.offsets[indices]
        lengths = self.offsets[indices + 1] - starts
        longest = int(lengths.max(initial=1))  # an empty batch keeps a width of one
        positions = np.arange(longest)
        if bool((lengths == longest).all()):
            return torch.from_numpy(self.tokens[starts[:, None] + positions]), None
        ids = self.tokens.take(starts[:, None] + positions, mode="clip")  # quicker than by []
        ids = np.where(positions < lengths[:, None], ids, PAD)
        return torch.from_numpy(ids), torch.from_numpy(lengths)


def inside_mask(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Bool (B, T): the positions before each caption's end."""
    return torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]


def without_filling(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Captions (B, T) without the columns that only fill, of which one stays; on a GPU as they
    are, since to know the longest would be to wait for it."""
    if tokens.device.type != "cpu" or torch.jit.is_tracing() or len(lengths) == 0:
        return tokens
    return tokens[:, : max(1, int(lengths.max()))]


class Vocabulary:
    """The words a model knows, and how it cuts a caption into words.

    Word i of `words` has id `FIRST_WORD + i`. `prefix` words stand before each caption (VSE++'s
    `<start>`); EOS stands after it.
    """

    def __init__(
        self,
        words: Sequence[str],
        tokenizer: Tokenizer | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.words = list(words)
        self.tokenizer = tokenizer or Words()
        self.prefix = tuple(prefix)
        self._ids = {word: FIRST_WORD + index for index, word in enumerate(self.words)}

    def __len__(self) -> int:
        """Rows of an embedding table for this vocabulary."""
        return FIRST_WORD + len(self.words)

    @classmethod
    def build(
        cls,
        captions: Iterable[str],
        tokenizer: Tokenizer | None = None,
        min_count: int = 1,
        max_size: int | None = None,
        drop_rarest: int = 0,
        prefix: Sequence[str] = (),
    ) -> Vocabulary:
        """Collect the words of `captions`, the most frequent first, ties in order of appearance.

        Words seen fewer than `min_count` times are unknown, and so are all but the `max_size` most
        frequent, and the last `drop_rarest` of what remains (the original drops two: its table
        is two rows short, `build_dictionary` in vocab.py against `n_words` in train.py).
        """
        tokenizer = tokenizer or Words()
        counts: Counter[str] = Counter()
        for caption in captions:
            counts.update(tokenizer(caption))
        words = [word for word, count in counts.most_common(max_size) if count >= min_count]
        return cls([*prefix, *words[: len(words) - drop_rarest]], tokenizer, prefix)

    @classmethod
    def of_file(
        cls, path: str | Path, tokenizer: Tokenizer | None = None, prefix: Sequence[str] = ()
    ) -> Vocabulary:
        """The words of a text file, one a line, as the tokeniser cuts them. UserError where it
        cannot be read, or has a word twice."""
        words = [*prefix, *(word for word in read_lines(path) if word not in prefix)]
        twice = next((word for word, count in Counter(words).items() if count > 1), None)
        if twice is not None:
            raise UserError(f"{path} has the word {twice!r} more than once: a word a line, once.")
        return cls(words, tokenizer, prefix)

    def tokenize(self, caption: str) -> list[str]:
        """The words of a caption, without prefix and EOS."""
        return self.tokenizer(caption)

    def encode(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Ids of all captions; words that are not in the vocabulary become UNK."""
        tokenize, find = self.tokenizer, self._ids.get
        prefix = [find(word, UNK) for word in self.prefix]
        ids: list[int] = []
        offsets = np.zeros(len(captions) + 1, dtype=np.int64)
        for index, caption in enumerate(captions):
            ids += prefix
            ids += [find(word, UNK) for word in tokenize(caption)]
            ids.append(EOS)
            offsets[index + 1] = len(ids)
        return TokenizedCaptions(np.array(ids, dtype=np.int64), offsets)

    def word_counts(self, captions: TokenizedCaptions) -> np.ndarray:
        """Words of each of the captions that it encoded, without prefix and EOS, int64 (n,)."""
        return captions.lengths - 1 - len(self.prefix)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for a checkpoint."""
        return {
            "words": self.words,
            "tokenizer": part_spec(self.tokenizer),
            "prefix": list(self.prefix),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], trust: Sequence[str] | None = None) -> Vocabulary:
        """The vocabulary whose `to_dict` that is; `trust` as for `parts.build`."""
        tokenizer = build(state["tokenizer"], where="tokenizer", trust=trust)
        return cls(state["words"], tokenizer, state["prefix"])
