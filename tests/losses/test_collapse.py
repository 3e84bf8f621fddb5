"""The detector on losses that stay, pass by, and really collapse."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

from vse_exp.losses import CollapseDetector, HardestHingeLoss


def test_it_speaks_once_when_the_loss_has_stayed():
    detector = CollapseDetector(0.4, patience=5)
    said = [detector.update(loss, 128) for loss in (60.0, 51.2, 51.7, 51.3, 51.2, 51.2, 51.2)]
    assert said[:5] == [None] * 5
    assert said[5] is not None
    assert "2 x margin an item (0.400) for 5 updates" in said[5]
    assert "loss.warmup_epochs=1" in said[5]
    assert said[6] is None
    assert detector.collapsed


def test_a_loss_that_passes_by_is_no_collapse():
    detector = CollapseDetector(0.4, patience=5)
    for loss in (52.0, 51.2, 51.2, 45.0, 51.2, 51.2, 51.2, 51.2, 58.0, 40.0):
        assert detector.update(loss, 128) is None
    assert not detector.collapsed


def test_it_allows_for_the_size_of_each_batch():
    detector = CollapseDetector(0.2, patience=3)
    said = [detector.update(0.2 * size, size) for size in (128, 7, 64)]
    assert said[-1] is not None


def test_it_sees_real_training_on_the_plateau_and_not_the_sum():
    """Encoders that put everything near one point: hardest negatives do not get away from it."""

    def train(loss: HardestHingeLoss) -> CollapseDetector:
        torch.manual_seed(0)
        features = normalize(torch.randn(64, 24))
        words = normalize(features + 0.3 * torch.randn(64, 24))
        images, captions = nn.Linear(24, 16), nn.Linear(24, 16)
        for encoder in (images, captions):
            nn.init.constant_(encoder.bias, 10.0)
        optimizer = torch.optim.Adam([*images.parameters(), *captions.parameters()], 0.001)
        detector = CollapseDetector(2 * loss.margin, patience=50)
        for step in range(60):
            loss.set_progress(step, 0.0)
            rows = torch.randperm(64)[:32]
            value = loss(normalize(images(features[rows])), normalize(captions(words[rows])))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            detector.update(value.item(), 32)
        return detector

    assert train(HardestHingeLoss(margin=0.2)).collapsed
    assert train(HardestHingeLoss(margin=0.2, warmup_steps=100)).updates == 0
