"""The sigmoid loss against binary cross-entropy pair by pair."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from embeddings import random_pairs
from vse_exp.losses import Past, SigmoidLoss


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 8), seed=st.integers(0, 99), masked=st.booleans())
def test_equals_binary_cross_entropy(n, seed, masked):
    images, captions, ids = random_pairs(n, seed=seed, images=max(1, n // 2))
    loss = SigmoidLoss(temperature=0.2, bias=-3.0, mask_same_image=masked)
    logits = images @ captions.T / 0.2 - 3.0
    right = torch.eye(n, dtype=torch.bool)
    terms = binary_cross_entropy_with_logits(logits, right.double(), reduction="none")
    if masked:
        terms = terms[right | (ids[:, None] != ids)]
    assert loss(images, captions, ids).item() == pytest.approx(terms.sum().item() / n, rel=1e-5)


def test_pairs_with_the_past_are_wrong_ones_in_both_directions():
    images, captions, ids = random_pairs(3, seed=0)
    old_images, old_captions, old_ids = random_pairs(4, seed=1)
    past = Past(old_images.detach(), old_captions.detach(), old_ids + 100)
    loss = SigmoidLoss(temperature=0.2, bias=-3.0)
    extra = [images @ past.captions.T, past.images @ captions.T]
    expected = loss(images, captions, ids)
    for scores in extra:
        logits = scores / 0.2 - 3.0
        zeros = torch.zeros_like(logits)
        terms = binary_cross_entropy_with_logits(logits, zeros, reduction="sum")
        expected = expected + terms / 3
    assert loss(images, captions, ids, past).item() == pytest.approx(expected.item(), rel=1e-6)


def test_gradient():
    images, captions, ids = random_pairs(4, seed=2, images=3)
    loss = SigmoidLoss(temperature=0.3, bias=-1.0).double()

    def function(images, captions, log_scale, bias):
        return loss(images, captions, ids)

    inputs = (images, captions, loss.scale.log_scale, loss.bias)
    assert torch.autograd.gradcheck(function, inputs)


def test_an_untrained_model_starts_near_the_loss_of_the_right_pairs():
    """The low bias keeps the many wrong pairs from mattering at first (the paper's section 3.2)."""
    images, captions, ids = random_pairs(16, dim=512)
    assert SigmoidLoss()(images, captions, ids).item() == pytest.approx(10, abs=1)
