"""Image - word + word, worked out by hand in two dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from small_models import small_model
from vse_exp.errors import UserError
from vse_exp.models.vse import VSE
from vse_exp.retrieval.build import build_gallery
from vse_exp.retrieval.regularities import regularities
from vse_exp.text.vocabulary import Vocabulary

ANGLES = np.deg2rad([0, 45, 90, 100, 180])
GALLERY = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float32)


@pytest.fixture
def model() -> VSE:
    """`day` points along x, `night` along y, and an image is its features."""
    model = small_model(Vocabulary(["day", "night"]), 2, dim=2)
    with torch.no_grad():
        table = model.sentence_encoder.get_parameter("embedding.weight")
        table.copy_(torch.tensor([[0.0, 0], [0, 0], [0, 0], [2, 0], [0, 3]]))
        projection = model.image_encoder.get_submodule("projection")
        projection.get_parameter("weight").copy_(torch.eye(2))
    return model


def test_a_word_takes_the_place_of_another(model: VSE) -> None:
    found = regularities(model, [5.0, 0.0], "day", "night", GALLERY, k=3)
    assert found.items.tolist() == [2, 3, 1]
    np.testing.assert_allclose(found.scores, np.cos(np.deg2rad([0, 10, 45])), atol=1e-6)
    gallery = build_gallery(model, images=np.eye(5, 2), image_names=list("abcde"))
    assert [(hit.item, hit.name) for hit in found.hits(gallery)] == [(2, "c"), (3, "d"), (1, "b")]


def test_reranking_by_the_mean_of_the_results(model: VSE) -> None:
    found = regularities(model, [5.0, 0.0], "day", "night", GALLERY, k=3, rerank=True)
    mean = GALLERY[[2, 3, 1]].mean(0)
    expected = GALLERY[[2, 3, 1]] @ (mean / np.linalg.norm(mean))
    assert found.items.tolist() == [2, 3, 1]
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    # the nearest, at 0 degrees, lies at the edge of 0, 45 and 90
    found = regularities(model, [5.0, 0.0], "night", "night", GALLERY, k=3, rerank=True)
    assert found.items[0] == 1
    assert sorted(found.items) == [0, 1, 2]


def test_mistakes(model: VSE) -> None:
    with pytest.raises(UserError, match="no direction"):
        regularities(model, [1.0, 0.0], "day", "", GALLERY)
    with pytest.raises(UserError, match="embed it with"):
        regularities(model, [1.0, 0.0], "day", "night", GALLERY.T)
    with pytest.raises(UserError, match="at least one"):
        regularities(model, [1.0, 0.0], "day", "night", GALLERY, k=0)
