"""Models on a split, one or joined, with stand-ins that return given embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vse_exp.errors import UserError
from vse_exp.evaluation.evaluator import embed_bank, evaluate_model
from vse_exp.evaluation.metrics import retrieval_metrics
from vse_exp.evaluation.rerank import QueryBank
from vse_exp.models.dual import DualEncoder
from vse_exp.models.ensemble import Ensemble
from vse_exp.similarity import find_similarity

caption_image = np.arange(30) // 3


class Given(DualEncoder):
    """Returns embeddings of its own, whatever it is asked for."""

    def __init__(self, seed: int, dim: int, similarity: str = "cosine") -> None:
        super().__init__()
        random = np.random.default_rng(seed)
        self.dim, self.similarity = dim, find_similarity(similarity)
        self.images = random.random((10, dim)).astype(np.float32)
        noise = random.random((30, dim)).astype(np.float32)
        self.captions = self.images[caption_image] + noise / 2

    def encode_images(self, *_: Any, **__: Any) -> np.ndarray:
        return self.images

    def image_blocks(self, *_: Any, **__: Any) -> Iterator[np.ndarray]:
        yield self.images

    def encode_sentences(self, *_: Any, **__: Any) -> np.ndarray:
        return self.captions


SPLIT: Any = SimpleNamespace(
    image_features=np.zeros((10, 1), np.float32), captions=None, caption_image=caption_image
)


def naive(scores: np.ndarray) -> dict[str, float]:
    annotation = [
        (row[own := caption_image != i] >= np.max(row[~own])).sum() for i, row in enumerate(scores)
    ]
    search = [(scores[:, j] >= scores[i, j]).sum() - 1 for j, i in enumerate(caption_image)]
    return retrieval_metrics(np.array(annotation), np.array(search))


def test_several_models_are_ranked_by_their_mean() -> None:
    models = [Given(0, 4), Given(1, 6)]
    scores = [one.images @ one.captions.T for one in models]
    assert evaluate_model(models[0], SPLIT).metrics == naive(scores[0])
    assert Ensemble(models).dim == 10
    assert evaluate_model(Ensemble(models), SPLIT).metrics == naive(scores[0] + scores[1])


def test_order_models_are_ranked_by_their_order() -> None:
    one = Given(0, 4, "order")
    violation = np.maximum(0, one.captions[None] - one.images[:, None])
    assert evaluate_model(one, SPLIT).metrics == naive(-(violation**2).sum(2))
    with pytest.raises(UserError, match="Cosine and Order cannot be joined"):
        Ensemble([Given(1, 4), one])


def test_a_split_may_be_the_bank() -> None:
    model = Given(0, 4)
    rerank = QueryBank(embed_bank(model, SPLIT, "tiny train"))
    assert evaluate_model(model, SPLIT, rerank=rerank).protocol.endswith("bank tiny train")
