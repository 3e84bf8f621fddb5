"""Models on a split, one or several, with stand-ins that return given embeddings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vse_exp.errors import UserError
from vse_exp.evaluation.evaluator import embed_bank, evaluate_model
from vse_exp.evaluation.metrics import retrieval_metrics
from vse_exp.evaluation.rerank import QueryBank
from vse_exp.similarity import find_similarity

caption_image = np.arange(30) // 3


def model(seed: int, dim: int, similarity: str = "cosine") -> Any:
    random = np.random.default_rng(seed)
    images = random.random((10, dim)).astype(np.float32)
    captions = images[caption_image] + random.random((30, dim)).astype(np.float32) / 2
    return SimpleNamespace(
        similarity=find_similarity(similarity),
        encode_images=lambda features: images,
        encode_sentences=lambda sentences: captions,
    )


SPLIT: Any = SimpleNamespace(image_features=None, captions=None, caption_image=caption_image)


def naive(scores: np.ndarray) -> dict[str, float]:
    annotation = [
        (row[own := caption_image != i] >= np.max(row[~own])).sum() for i, row in enumerate(scores)
    ]
    search = [(scores[:, j] >= scores[i, j]).sum() - 1 for j, i in enumerate(caption_image)]
    return retrieval_metrics(np.array(annotation), np.array(search))


def test_several_models_are_ranked_by_their_mean() -> None:
    models = [model(0, 4), model(1, 6)]
    scores = [one.encode_images(0) @ one.encode_sentences(0).T for one in models]
    assert evaluate_model(models[:1], SPLIT).metrics == naive(scores[0])
    assert evaluate_model(models, SPLIT).metrics == naive(scores[0] + scores[1])


def test_order_models_are_ranked_by_their_order() -> None:
    one = model(0, 4, "order")
    images, captions = one.encode_images(0), one.encode_sentences(0)
    violation = np.maximum(0, captions[None] - images[:, None])
    assert evaluate_model([one], SPLIT).metrics == naive(-(violation**2).sum(2))
    with pytest.raises(UserError, match="Cosine and Order cannot be joined"):
        evaluate_model([model(1, 4), one], SPLIT)


def test_a_split_may_be_the_bank() -> None:
    models = [model(0, 4)]
    rerank = QueryBank(embed_bank(models, SPLIT, "tiny train"))
    assert evaluate_model(models, SPLIT, rerank=rerank).protocol.endswith("bank tiny train")
