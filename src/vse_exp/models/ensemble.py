"""Several models as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preparation
from vse_exp.images.rows import Images
from vse_exp.models.dual import DualEncoder
from vse_exp.parts import part_spec


class Ensemble(DualEncoder):
    """Models whose similarity is the mean of theirs.

    Its rows are theirs joined (`concatenate`), so that it is ranked, searched and compared as one
    model. UserError for models of different similarities, or that take different images.
    """

    def __init__(self, models: Sequence[DualEncoder]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        first, *others = self.members
        for other in others:
            if part_spec(other.similarity) != part_spec(first.similarity):
                names = " and ".join(type(one.similarity).__name__ for one in (first, other))
                raise UserError(f"Models of similarities {names} cannot be joined.")
            if other.preprocessing != first.preprocessing:
                raise UserError(
                    "The models take different images, features and pictures or pictures of "
                    "several kinds: evaluate them one by one."
                )
        self.similarity = first.similarity
        self.dim = sum(model.dim for model in self.members)
        self.provenance = next((m.provenance for m in self.members if m.provenance), None)

    @property
    def members(self) -> list[DualEncoder]:
        return list(self.models)  # type: ignore[arg-type]  # nn.ModuleList does not say of what

    @property
    def preprocessing(self) -> Preparation | None:
        return self.members[0].preprocessing

    def embed_in(self, precision: str) -> None:
        for model in self.members:
            model.embed_in(precision)

    def remember(self, captions: Sequence[str], cache: Path) -> None:
        for model in self.members:
            model.remember(captions, cache)

    def encode_sentences(
        self, captions: Sequence[str], batch_size: int | None = None, verbose: bool = False
    ) -> np.ndarray:
        each = (model.encode_sentences(captions, batch_size, verbose) for model in self.members)
        return concatenate(list(each))

    def image_blocks(
        self, images: Images, batch_size: int | None = None, verbose: bool = False
    ) -> Iterator[np.ndarray]:
        size = batch_size or self.images_at_once
        each = (model.image_blocks(images, size, verbose) for model in self.members)
        yield from map(concatenate, zip(*each, strict=True))

    def check_features(
        self, record: dict[str, Any] | None, allow: bool, key: str = "allow_feature_mismatch"
    ) -> None:
        for model in self.members:
            model.check_features(record, allow, key)

    def describe(self) -> str:
        return ", ".join(model.describe() for model in self.members)


def concatenate(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Rows (n, d1 + d2 + …) of M models' rows whose scores are the mean of the models' scores.

    The inner product of rows joined and scaled by `1 / sqrt(M)` is the mean of M inner products
    (and so for order violations). Use it on both sides. UserError where the models embedded
    different numbers of items.
    """
    sizes = {len(rows) for rows in embeddings}
    if len(sizes) != 1:
        raise UserError(f"An ensemble needs rows for the same items, and got {sorted(sizes)}.")
    joined = np.concatenate([np.asarray(rows, np.float32) for rows in embeddings], axis=1)
    joined *= np.float32(len(embeddings) ** -0.5)
    return joined
