"""Losses that learn from known vectors, against loops over single pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from embeddings import random_pairs
from vse_exp.errors import UserError
from vse_exp.losses import (
    DistillationLoss,
    InfoNCELoss,
    QueuedLoss,
    SoftTargetsLoss,
    StructureLoss,
    WeightedSum,
)

N = 4
IMAGE_IDS, CAPTION_IDS = torch.tensor([5, 0, 2, 5]), torch.tensor([7, 1, 6, 3])


def batch() -> tuple[Tensor, Tensor]:
    images, captions, _ = random_pairs(N, seed=1)
    return images, captions


def known(dim: int = 3) -> tuple[Tensor, Tensor]:
    """Vectors of more items than the batch has, of captions in another space."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(6, dim, generator=generator), torch.randn(8, dim, generator=generator)


def value_of(loss, dim: int = 3) -> Tensor:
    images, captions = batch()
    loss.learn_from(*known(dim))
    loss.see(CAPTION_IDS)
    value = loss(images, captions, IMAGE_IDS)
    value.backward()
    assert images.grad.isfinite().all()
    assert captions.grad.isfinite().all()
    assert not loss.state_dict()
    return value


def dot(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def cosine(a: Tensor, b: Tensor) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def cross_entropy(ours: list[float], theirs: list[float]) -> float:
    return -sum(q * math.log(p) for p, q in zip(softmax(ours), softmax(theirs), strict=True))


def known_rows() -> tuple[Tensor, Tensor]:
    images, captions = known()
    return images[IMAGE_IDS], captions[CAPTION_IDS]


def test_distillation_is_huber_of_scores():
    (images, captions), (their_images, their_captions) = batch(), known_rows()
    total = 0.0
    for i in range(N):
        for j in range(N):
            far = abs(dot(images[i], captions[j]) - dot(their_images[i], their_captions[j]))
            total += far**2 / 2 if far <= 1 else far - 0.5
    assert value_of(DistillationLoss()).item() == pytest.approx(total / N**2, rel=1e-5)


def test_distillation_of_softened_scores():
    (images, captions), (their_images, their_captions) = batch(), known_rows()
    total = 0.0
    for i in range(N):
        for one, others, known_one, known_others in (
            (images[i], captions, their_images[i], their_captions),
            (captions[i], images, their_captions[i], their_images),
        ):
            ours = [dot(one, other) / 0.5 for other in others]
            theirs = [dot(known_one, other) / 0.5 for other in known_others]
            total += cross_entropy(ours, theirs)
    expected = total / (2 * N)
    assert value_of(DistillationLoss(temperature=0.5)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("within", [0.0, 0.7])
def test_soft_targets(within):
    (images, captions), (their_images, their_captions) = batch(), known_rows()
    total = 0.0
    for i in range(N):
        for side, other, theirs in (
            (images, captions, their_images),
            (captions, images, their_captions),
        ):
            targets = [cosine(theirs[i], row) / 0.2 for row in theirs]
            total += cross_entropy([dot(side[i], row) / 0.1 for row in other], targets)
            total += within * cross_entropy([dot(side[i], row) / 0.1 for row in side], targets)
    loss = SoftTargetsLoss(temperature=0.1, known_temperature=0.2, within=within)
    assert value_of(loss).item() == pytest.approx(total / (2 * N), rel=1e-5)


def neighbours(rows: Tensor, temperature: float) -> list[list[float]]:
    # normalised, then centred, as in the paper's program; their inner products, not their cosines
    unit = [row / math.sqrt(dot(row, row)) for row in rows.detach()]
    centred = [row - sum(unit) / N for row in unit]
    return [softmax([dot(a, b) / temperature for b in centred]) for a in centred]


@pytest.mark.parametrize("levels", [1, 3])
def test_structure(levels):
    (images, captions), (their_images, their_captions) = batch(), known_rows()
    total = 0.0
    for ours, theirs in ((images, their_images), (captions, their_captions)):
        first = [neighbours(rows, 0.5) for rows in (ours, theirs)]
        powers = [[row[:] for row in one] for one in first]
        for level in range(1, levels + 1):
            if level > 1:
                powers = [
                    [
                        [sum(row[k] * base[k][j] for k in range(N)) for j in range(N)]
                        for row in power
                    ]
                    for power, base in zip(powers, first, strict=True)
                ]
            for i in range(N):
                for p, q in zip(powers[0][i], powers[1][i], strict=True):
                    middle = (p + q) / 2
                    both = p * math.log(p / middle) + q * math.log(q / middle)
                    total += both / 2 / level
    expected = total / (2 * N * levels)
    loss = StructureLoss(temperature=0.5, levels=levels)
    assert value_of(loss).item() == pytest.approx(expected, rel=1e-5)


def test_known_spaces_kept_cost_nothing():
    images, captions = batch()
    loss = StructureLoss(levels=2)
    loss.learn_from(images.detach() * 3, captions.detach() * 2)  # lengths do not count
    loss.see(torch.arange(N))
    assert loss(images, captions, torch.arange(N)).item() == pytest.approx(0, abs=1e-9)


def test_a_sum_and_a_queue_pass_it_on():
    parts = {"infonce": InfoNCELoss(), "distillation": QueuedLoss(loss=DistillationLoss(), size=8)}
    both = WeightedSum(losses=parts, weights={"infonce": 2.0, "distillation": 3.0})
    assert both.taught
    assert not InfoNCELoss().taught
    both.learn_from(*known())
    both.see(CAPTION_IDS)
    expected = 2 * InfoNCELoss()(*batch(), IMAGE_IDS) + 3 * value_of(DistillationLoss())
    assert both(*batch(), IMAGE_IDS).item() == pytest.approx(expected.item())


def test_without_teachers_it_is_told():
    with pytest.raises(UserError, match=r"set teachers=\[FILE.ckpt\]"):
        DistillationLoss()(*batch(), IMAGE_IDS)
