"""What can be asked of a model on a split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vse_exp.errors import UserError
from vse_exp.parts import Node
from vse_exp.schema import Keys, Size, Text

Texts = Text | Annotated[list[Text], Field(min_length=1)]
"""One, or several as [a, b]."""


class Vectors(Keys):
    """Files of another program's vectors; several a side: the mean of their cosines."""

    images: Texts
    captions: Texts
    caption_image: Text | None = None


class Asked(Keys):
    """What is asked, by the keys that conf/evaluate.yaml explains."""

    protocol: Literal["full", "folds", "first_n", "karpathy", "clip_benchmark", "mteb"]
    n_images: Size
    metrics: Literal["standard", "all"] | list[Node]
    relevance: Text | None
    judgements: Text | list[Text] | None
    order: bool
    choices: Text | None
    rerank: Literal["csls", "nnn", "inverted_softmax", "dual_softmax", "query_bank"] | None
    bank: Text | Vectors | None
    intervals: bool
    hubness: bool
    eccv: bool | None

    def check(self) -> None:
        """UserError for what does not go together."""
        if self.bank is not None and self.rerank is None:
            raise UserError("bank=… is for re-ranking: say rerank=… too, or leave it out.")
        if self.eccv and self.rerank is not None:
            raise UserError("eccv=true is of scores as they are: leave out rerank, or eccv.")
