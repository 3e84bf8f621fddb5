"""A tokeniser: runs of letters, so that a misspelt word is like its neighbour."""

from __future__ import annotations

from vse_exp.schema import Size
from vse_exp.text.tokenizers import Tokenizer


class Letters(Tokenizer):
    """All runs of `size` letters of each word between `<` and `>`."""

    def __init__(self, *, size: Size = 3) -> None:
        self.size = size

    def __call__(self, caption: str) -> list[str]:
        words = [f"<{word}>" for word in caption.lower().split()]
        return [
            word[start : start + self.size]
            for word in words
            for start in range(max(1, len(word) - self.size + 1))
        ]
