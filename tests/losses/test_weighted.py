"""Sums of losses."""

from __future__ import annotations

import pytest

from embeddings import random_pairs
from vse_exp.errors import UserError
from vse_exp.losses import HardestHingeLoss, HingeLoss, InfoNCELoss, WeightedSum


def test_equals_the_sum_of_its_parts():
    images, captions, ids = random_pairs(6)
    parts = {"hinge": HingeLoss(), "infonce": InfoNCELoss()}
    loss = WeightedSum(losses=parts, weights={"infonce": 2.5, "hinge": 0.5})
    expected = 0.5 * parts["hinge"](images, captions, ids)
    expected = expected + 2.5 * parts["infonce"](images, captions, ids)
    assert loss(images, captions, ids).item() == pytest.approx(expected.item())
    assert [name for name, _ in loss.named_parameters()] == ["losses.infonce.scale.log_scale"]


def test_schedules_are_told():
    hardest = HardestHingeLoss(warmup_epochs=2)
    WeightedSum(losses={"a": hardest, "b": HingeLoss()}, weights={"a": 1, "b": 1}).set_progress(
        0, 1.0
    )
    assert hardest.weight == 0.5


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"loss.losses names a and loss.weights b"):
        WeightedSum(losses={"a": HingeLoss()}, weights={"b": 1.0})
    with pytest.raises(UserError, match=r"loss.losses names none"):
        WeightedSum(losses={}, weights={})
