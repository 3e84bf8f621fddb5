"""Captions as the word pieces of a pre-trained text model, in place of a vocabulary of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vse_exp.errors import UserError
from vse_exp.text.cleaning import clean_caption
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary


class SubwordVocabulary(Vocabulary):
    """A Hugging Face tokenizer, held as the text of its `tokenizer.json`, special pieces included.

    Stands where a Vocabulary does. Captions are cut off after `max_length` pieces and, with `fill`,
    filled up to these as the tokenizer says, for models that were trained so. `clean` is one of
    OpenCLIP's ways to clean them before (see cleaning.py).
    """

    prefix = ()

    def __init__(
        self, tokenizer_json: str, max_length: int, fill: bool = False, clean: str | None = None
    ) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UserError(
                "Pre-trained text models need the extra `text`: pip install 'vse_exp[text]'."
            ) from error
        self.tokenizer_json, self.max_length = tokenizer_json, max_length
        self.fill, self.clean = fill, clean
        self._encoder: Any = Tokenizer.from_str(tokenizer_json)
        if not fill:
            self._encoder.no_padding()
        self._encoder.enable_truncation(max_length)

    @property
    def words(self) -> list[str]:
        """All pieces, in the order of their ids."""
        pieces = self._encoder.get_vocab()
        return sorted(pieces, key=pieces.__getitem__)

    def __len__(self) -> int:
        return self._encoder.get_vocab_size()

    def tokenize(self, caption: str) -> list[str]:
        """The pieces of a caption, without those that only mark its ends."""
        encoded = self._encoder.encode(self._cleaned(caption), add_special_tokens=False)
        pairs = zip(encoded.tokens, encoded.attention_mask, strict=True)
        return [piece for piece, counts in pairs if counts]

    def encode(self, captions: Sequence[str]) -> TokenizedCaptions:
        """Ids of all captions, with the pieces that mark their ends."""
        cleaned = [self._cleaned(caption) for caption in captions]
        return TokenizedCaptions.of([one.ids for one in self._encoder.encode_batch(cleaned)])

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for a checkpoint."""
        return {
            "tokenizer_json": self.tokenizer_json,
            "max_length": self.max_length,
            "fill": self.fill,
            "clean": self.clean,
        }

    @classmethod
    def from_dict(
        cls, state: Mapping[str, Any], trust: Sequence[str] | None = None
    ) -> SubwordVocabulary:
        rest = {key: state[key] for key in ("fill", "clean") if key in state}
        return cls(state["tokenizer_json"], state["max_length"], **rest)

    def _cleaned(self, caption: str) -> str:
        return clean_caption(caption, self.clean) if self.clean else caption
