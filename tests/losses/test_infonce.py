"""InfoNCE against torch's cross_entropy, loops, and numerical gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from embeddings import random_pairs
from vse_exp.errors import UserError
from vse_exp.losses import InfoNCELoss
from vse_exp.parts import check


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 9),
    seed=st.integers(0, 99),
    smoothing=st.sampled_from([0.0, 0.1]),
    temperature=st.sampled_from([0.01, 0.07, 1.0]),
)
def test_equals_cross_entropy(n, seed, smoothing, temperature):
    images, captions, _ = random_pairs(n, seed=seed)
    loss = InfoNCELoss(temperature=temperature, label_smoothing=smoothing)(images, captions)
    logits = images @ captions.T / temperature
    right = torch.arange(n)
    both = [cross_entropy(m, right, label_smoothing=smoothing) for m in (logits, logits.T)]
    expected = torch.stack(both).sum()
    assert loss.item() == pytest.approx(expected.item() / 2, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_captions_of_one_image_are_no_candidates(smoothing):
    images, captions, _ = random_pairs(5)
    ids = torch.tensor([0, 1, 0, 2, 1])
    loss = InfoNCELoss(temperature=0.1, label_smoothing=smoothing)(images, captions, ids)
    logits = (images @ captions.T / 0.1).detach()
    terms = []
    for matrix in (logits, logits.T):
        for k in range(5):
            allowed = [k] + [j for j in range(5) if ids[j] != ids[k]]
            row = matrix[k, allowed][None]
            terms.append(cross_entropy(row, torch.tensor([0]), label_smoothing=smoothing))
    assert loss.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)


def test_gradient():
    images, captions, ids = random_pairs(5, seed=1, images=3)
    loss = InfoNCELoss(temperature=0.3, label_smoothing=0.1).double()

    def function(images, captions, log_scale):
        return loss(images, captions, ids)

    inputs = (images, captions, loss.scale.log_scale)
    assert torch.autograd.gradcheck(function, inputs)


def test_the_temperature_is_learned_within_its_bounds():
    images = captions = torch.eye(4)  # a perfect model wants the lowest temperature
    loss = InfoNCELoss(temperature=0.07, min_temperature=0.05)
    optimizer = torch.optim.SGD(loss.parameters(), 1e6)
    for _ in range(20):
        optimizer.zero_grad()
        loss(images, captions).backward()
        optimizer.step()
    loss(images, captions)
    assert loss.scale.log_scale.exp().item() == pytest.approx(20.0)
    loss(images, captions.roll(1, 0)).backward()  # a wrong one wants it higher: it can turn back
    assert loss.scale.log_scale.grad.item() > 0


def test_a_fixed_temperature_has_no_gradient():
    loss = InfoNCELoss(learn_temperature=False)
    assert not loss.scale.log_scale.requires_grad
    assert loss.state_dict()["scale.log_scale"].item() == pytest.approx(-math.log(0.05))


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"loss.temperature is 0"):
        InfoNCELoss(temperature=0)
    with pytest.raises(UserError, match=r"\[0.01, 1.0\]"):
        InfoNCELoss(temperature=2)
    with pytest.raises(UserError, match=r"loss.label_smoothing=1 must be less than 1"):
        check({"_target_": "vse_exp.losses.InfoNCELoss", "label_smoothing": 1}, "loss")
