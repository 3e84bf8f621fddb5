"""The contrast between captions, against loops."""

from __future__ import annotations

import math

import pytest
import torch

from embeddings import random_pairs
from vse_exp.losses import CaptionContrastLoss


@pytest.mark.parametrize("ids", [[0, 0, 1, 1, 2, 2], [3, 1, 3, 3, 1, 0]])
def test_against_loops(ids):
    images, captions, _ = random_pairs(6, seed=1)
    value = CaptionContrastLoss(temperature=0.1)(images, captions, torch.tensor(ids))
    terms = []
    for i, own in enumerate(ids):
        logits = [(captions[i] @ captions[j]).item() / 0.1 for j in range(6)]
        all_others = math.log(sum(math.exp(logits[j]) for j in range(6) if j != i))
        right = [logits[j] for j in range(6) if j != i and ids[j] == own]
        if right:
            terms.append(sum(all_others - one for one in right) / len(right))
    assert value.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    value.backward()
    assert images.grad is None
    assert captions.grad.isfinite().all()


def test_positives_that_agree_cost_little():
    captions = torch.eye(3).repeat_interleave(2, 0)
    ids = torch.tensor([0, 0, 1, 1, 2, 2])
    assert CaptionContrastLoss(temperature=0.05)(captions, captions, ids).item() < 1e-6


def test_a_batch_without_positives_costs_nothing_and_is_told_once(caplog):
    images, captions, _ = random_pairs(4, seed=0)
    loss = CaptionContrastLoss()
    for _ in range(2):
        value = loss(images, captions, torch.arange(4))
        value.backward()
    assert value.item() == 0
    assert not captions.grad.any()
    assert caplog.text.count("captions_together=2") == 1
