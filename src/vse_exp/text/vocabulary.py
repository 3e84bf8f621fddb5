"""Words to ids: tokenisation, the vocabulary, and captions stored as one flat array of ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError

PAD, EOS, UNK = 0, 1, 2
"""Ids that are no words: filling after a caption's end, end of sentence, unknown word."""
FIRST_WORD = 3

# letters and digits of any script, with inner apostrophes and hyphens: "don't", "t-shirt"
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def _split(caption: str) -> list[str]:
    return caption.split()


def _words(caption: str) -> list[str]:
    return _WORD.findall(caption.lower())


def _stems(caption: str) -> list[str]:
    return [_stem(word) for word in _words(caption)]


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    return _stemmer().stemWord(word)


@cache
def _stemmer() -> Any:
    import snowballstemmer  # not needed by the other tokenisations

    return snowballstemmer.stemmer("english")


def _ptb(caption: str) -> list[str]:
    from vse_exp.text.ptb import ptb_tokenize

    return ptb_tokenize(caption.lower())


TOKENIZATIONS = {"split": _split, "words": _words, "stems": _stems, "ptb": _ptb}
"""`split`: whitespace, case kept (the original's). `words`: lower-cased words of any script without
punctuation. `stems`: the same without English endings (Snowball's Porter 2), so that `dog` and
`dogs` are one. `ptb`: lower-cased Penn Treebank tokens (VSE++'s)."""


@dataclass(frozen=True)
class TokenizedCaptions:
    """Captions as ids, one after the other: caption i is `tokens[offsets[i]:offsets[i + 1]]`.

    `tokens` int64 (total,), `offsets` int64 (n + 1,). Every caption ends with EOS.
    """

    tokens: np.ndarray
    offsets: np.ndarray

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
        inside = positions < lengths[:, None]
        ids = np.full(inside.shape, PAD, dtype=np.int64)
        ids[inside] = self.tokens[(starts[:, None] + positions)[inside]]
        return torch.from_numpy(ids), torch.from_numpy(lengths)


@dataclass(frozen=True)
class Vocabulary:
    """The words a model knows, and how it cuts a caption into words.

    Word i of `words` has id `FIRST_WORD + i`. `prefix` words stand before each caption (VSE++'s
    `<start>`); EOS stands after it.
    """

    words: list[str]
    tokenization: str = "words"
    prefix: tuple[str, ...] = ()
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.tokenization not in TOKENIZATIONS:
            known = ", ".join(TOKENIZATIONS)
            raise UserError(f"Unknown tokenization {self.tokenization!r}: choose one of {known}.")
        ids = {word: FIRST_WORD + index for index, word in enumerate(self.words)}
        object.__setattr__(self, "_ids", ids)

    def __len__(self) -> int:
        """Rows of an embedding table for this vocabulary."""
        return FIRST_WORD + len(self.words)

    @classmethod
    def build(
        cls,
        captions: Iterable[str],
        tokenization: str = "words",
        min_count: int = 1,
        max_size: int | None = None,
        drop_rarest: int = 0,
    ) -> Vocabulary:
        """Collect the words of `captions`, the most frequent first, ties in order of appearance.

        Words seen fewer than `min_count` times are unknown, and so are all but the `max_size` most
        frequent, and the last `drop_rarest` of what remains (the original drops two: its table
        is two rows short, `build_dictionary` in vocab.py against `n_words` in train.py).
        """
        if tokenization not in TOKENIZATIONS:
            known = ", ".join(TOKENIZATIONS)
            raise UserError(
                f"Unknown tokenization {tokenization!r} (data.vocabulary.tokenization): "
                f"choose one of {known}."
            )
        tokenize = TOKENIZATIONS[tokenization]
        counts: Counter[str] = Counter()
        for caption in captions:
            counts.update(tokenize(caption))
        words = [word for word, count in counts.most_common(max_size) if count >= min_count]
        return cls(words[: len(words) - drop_rarest], tokenization)

    def tokenize(self, caption: str) -> list[str]:
        """The words of a caption, without prefix and EOS."""
        return TOKENIZATIONS[self.tokenization](caption)

    def encode(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Ids of all captions; words that are not in the vocabulary become UNK."""
        tokenize, find = TOKENIZATIONS[self.tokenization], self._ids.get
        prefix = [find(word, UNK) for word in self.prefix]
        ids: list[int] = []
        offsets = np.zeros(len(captions) + 1, dtype=np.int64)
        for index, caption in enumerate(captions):
            ids += prefix
            ids += [find(word, UNK) for word in tokenize(caption)]
            ids.append(EOS)
            offsets[index + 1] = len(ids)
        return TokenizedCaptions(np.array(ids, dtype=np.int64), offsets)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for a checkpoint."""
        return {
            "words": list(self.words),
            "tokenization": self.tokenization,
            "prefix": list(self.prefix),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Vocabulary:
        return cls(list(state["words"]), state["tokenization"], tuple(state["prefix"]))
