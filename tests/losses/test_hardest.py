"""The hardest negatives against loops, and the schedule that leads to them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings import random_pairs
from vse_exp.errors import UserError
from vse_exp.losses import HardestHingeLoss, HingeLoss
from vse_exp.parts import check


def hardest_by_loops(images, captions, ids, margin):
    total = 0.0
    scores = images @ captions.T
    for k in range(len(images)):
        others = [j for j in range(len(images)) if ids[j] != ids[k]]
        total += max([0.0] + [float(margin - scores[k, k] + scores[k, j]) for j in others])
        total += max([0.0] + [float(margin - scores[k, k] + scores[j, k]) for j in others])
    return total


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 9), seed=st.integers(0, 99))
def test_equals_loops(n, seed):
    images, captions, ids = random_pairs(n, seed=seed, images=max(1, n // 2))
    loss = HardestHingeLoss(margin=0.2)(images, captions, ids)
    expected = hardest_by_loops(images.detach(), captions.detach(), ids, 0.2)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_gradient():
    images, captions, ids = random_pairs(5, seed=2, images=3)
    loss = HardestHingeLoss(margin=0.9, warmup_steps=4)
    loss.set_progress(1, 0.0)
    assert torch.autograd.gradcheck(lambda i, c: loss(i, c, ids), (images, captions))


def test_collapsed_embeddings_lose_twice_the_margin_an_item():
    images = captions = torch.ones(8, 3)
    assert HardestHingeLoss(margin=0.2)(images, captions).item() == pytest.approx(8 * 2 * 0.2)


@pytest.mark.parametrize(
    ("options", "progress", "weight"),
    [
        ({}, (0, 0.0), 1.0),
        ({"warmup_epochs": 2}, (0, 0.0), 0.0),
        ({"warmup_epochs": 2}, (999, 0.5), 0.25),
        ({"warmup_epochs": 2}, (0, 2.5), 1.0),
        ({"warmup_steps": 100}, (25, 9.0), 0.25),
        ({"warmup_steps": 100}, (100, 0.0), 1.0),
        ({"warmup_epochs": 1, "warmup": "switch"}, (0, 0.99), 0.0),
        ({"warmup_epochs": 1, "warmup": "switch"}, (0, 1.0), 1.0),
    ],
)
def test_schedule(options, progress, weight):
    images, captions, ids = random_pairs(6, seed=4)
    loss = HardestHingeLoss(margin=0.2, **options)
    loss.set_progress(*progress)
    hardest = HardestHingeLoss(margin=0.2)(images, captions, ids)
    summed = HingeLoss(margin=0.2)(images, captions, ids)
    expected = weight * hardest + (1 - weight) * summed
    assert loss(images, captions, ids).item() == pytest.approx(expected.item())


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"both given"):
        HardestHingeLoss(warmup_epochs=1, warmup_steps=10)
    with pytest.raises(UserError, match=r"loss.warmup=ramp must be 'linear' or 'switch'"):
        check({"_target_": "vse_exp.losses.HardestHingeLoss", "warmup": "ramp"}, "loss")
