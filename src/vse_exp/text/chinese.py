"""Chinese captions as words, which its script does not part (extra `zh`)."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

from vse_exp.errors import UserError
from vse_exp.schema import Size
from vse_exp.text.tokenizers import Multilingual


class Jieba(Multilingual):
    """As Multilingual, but what is Chinese gives words by jieba's dictionary, and with
    `characters` also the characters of longer words, by which rare words are known in part.
    UserError as for Multilingual, and without jieba."""

    def __init__(
        self, *, language: str | None = "english", ngram: Size = 1, characters: bool = True
    ) -> None:
        super().__init__(language=language, ngram=ngram)
        self.characters = characters
        _cutter()

    def cut(self, run: str) -> list[str]:
        words = _cutter().lcut(run)
        cut = self.join(words)
        if self.characters:
            cut += [character for word in words if len(word) > 1 for character in word]
        return cut


@cache
def _cutter() -> Any:
    """jieba's, with the dictionary that it brings: it would read its last one from the temporary
    folder, where anybody may have put it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old spellings in its source
            import jieba
    except ImportError as error:
        raise UserError(
            "The tokeniser jieba needs the extra `zh`: pip install 'vse_exp[zh]'."
        ) from error
    cutter = jieba.Tokenizer()
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return cutter
