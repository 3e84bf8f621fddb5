"""Tokenisers: from a caption to its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from vse_exp.errors import UserError
from vse_exp.parts import Part
from vse_exp.schema import Size
from vse_exp.text.ptb import ptb_tokenize

# letters and digits of any script, with inner apostrophes and hyphens: "don't", "t-shirt"
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
# Han, Kana, Thai, Lao, Burmese, Khmer: written without spaces between words
_UNSPACED = re.compile(
    "[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)


class Tokenizer(Part):
    """Cuts a caption into words: `tokenizer(caption)` is a list of strings."""

    def __call__(self, caption: str) -> list[str]:
        raise NotImplementedError


class Whitespace(Tokenizer):
    """At white space, case kept: the original's."""

    def __call__(self, caption: str) -> list[str]:
        return caption.split()


def _runs(parts: Sequence[str], longest: int, joint: str = " ") -> list[str]:
    """The parts and the runs of up to `longest` neighbours, by where they begin."""
    if longest == 1:
        return list(parts)
    return [
        joint.join(parts[start:end])
        for start in range(len(parts))
        for end in range(start + 1, min(start + longest, len(parts)) + 1)
    ]


class Words(Tokenizer):
    """Lower-cased words of any script, without punctuation, and runs of up to `ngram` of them: with
    pairs even a bag of words knows which colour is whose ("red circle")."""

    def __init__(self, *, ngram: Size = 1) -> None:
        self.ngram = ngram

    def __call__(self, caption: str) -> list[str]:
        return _runs(WORD.findall(caption.lower()), self.ngram)


class Stems(Tokenizer):
    """Lower-cased words without their endings (Snowball; Porter 2 for English), so that `dog` and
    `dogs` are one, and runs of up to `ngram` of them. UserError for a language that has no
    stemmer."""

    def __init__(self, *, language: str = "english", ngram: Size = 1) -> None:
        import snowballstemmer  # not needed by the others

        if language not in snowballstemmer.algorithms():
            raise UserError(
                f"There is no stemmer for language={language}: choose one of "
                f"{', '.join(snowballstemmer.algorithms())}, or tokenizer=words."
            )
        self.language, self.ngram = language, ngram
        self._stemmer: Any = snowballstemmer.stemmer(language)
        self._stem = lru_cache(maxsize=1 << 16)(self._stemmer.stemWord)

    def __call__(self, caption: str) -> list[str]:
        return _runs([self._stem(word) for word in WORD.findall(caption.lower())], self.ngram)

    def __deepcopy__(self, memo: dict[int, Any]) -> Stems:
        return self

    def __reduce__(self) -> tuple[Any, ...]:  # a cache cannot be pickled for workers
        return _stems, (self.language, self.ngram)


def _stems(language: str, ngram: int) -> Stems:
    return Stems(language=language, ngram=ngram)


class Multilingual(Tokenizer):
    """Words of several languages, told apart by their script alone. What is written without spaces
    (Chinese, Japanese, Thai …) gives its characters and the runs of up to `ngram` of them, the rest
    stems of `language`, or words where that is None. UserError as for Stems."""

    def __init__(self, *, language: str | None = "english", ngram: Size = 1) -> None:
        self.ngram = ngram
        self._spaced = Words() if language is None else Stems(language=language)

    def __call__(self, caption: str) -> list[str]:
        words: list[str] = []
        start = 0
        for run in _UNSPACED.finditer(caption):
            words += self._spaced(caption[start : run.start()])
            words += self.cut(run[0])
            start = run.end()
        return words + self._spaced(caption[start:])

    def cut(self, run: str) -> list[str]:
        """The words of a stretch that is written without spaces."""
        return self.join(run)

    def join(self, parts: Sequence[str]) -> list[str]:
        """The parts and the runs of up to `ngram` of them."""
        return _runs(parts, self.ngram, "")


class Treebank(Tokenizer):
    """Lower-cased Penn Treebank tokens, punctuation among them: VSE++'s (NLTK's word_tokenize)."""

    def __call__(self, caption: str) -> list[str]:
        return ptb_tokenize(caption)
