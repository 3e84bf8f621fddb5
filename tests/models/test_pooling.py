"""Poolings against loops over single captions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from small_models import POOLINGS
from vse_exp.models.pooling import GeneralizedPooling

LENGTHS = torch.tensor([3, 1, 5, 3])


@pytest.fixture
def vectors() -> Tensor:
    return torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", POOLINGS)
def test_what_is_behind_the_end_does_not_count(name: str, vectors: Tensor) -> None:
    torch.manual_seed(0)
    pooling = POOLINGS[name](6)
    together = pooling(vectors, LENGTHS)
    assert together.shape == (4, 6)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(together[row], pooling(vectors[row : row + 1, :length])[0])
    padded = vectors.masked_fill((torch.arange(5) >= LENGTHS[:, None])[..., None], 1e4)
    torch.testing.assert_close(pooling(padded, LENGTHS), together)


@pytest.mark.parametrize(
    ("name", "reduce"),
    [
        ("sum", lambda rows: rows.sum(0)),
        ("mean", lambda rows: rows.mean(0)),
        ("max", lambda rows: rows.max(0).values),
        ("last", lambda rows: rows[-1]),
    ],
)
def test_plain_poolings(name: str, reduce, vectors: Tensor) -> None:
    pooled = POOLINGS[name](6)(vectors, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(pooled[row], reduce(vectors[row, :length]))


def test_attention_is_a_weighted_mean(vectors: Tensor) -> None:
    torch.manual_seed(0)
    pooling = POOLINGS["attention"](6)
    weights = pooling.score(vectors[0, :3])[:, 0].exp()
    expected = (weights[:, None] * vectors[0, :3]).sum(0) / weights.sum()
    torch.testing.assert_close(pooling(vectors, LENGTHS)[0], expected)


def test_gpo_weights_sorted_values(vectors: Tensor) -> None:
    torch.manual_seed(0)
    pooling = GeneralizedPooling(6)
    weights = pooling.weights(torch.tensor([3]), 3)[0]
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    ordered = vectors[0, :3].sort(0, descending=True).values
    torch.testing.assert_close(pooling(vectors, LENGTHS)[0], weights @ ordered)


def test_gpo_gives_no_nan_gradients(vectors: Tensor) -> None:
    pooling = GeneralizedPooling(6)
    vectors.requires_grad_()
    pooling(vectors, LENGTHS).square().sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()
    assert not vectors.grad[1, 1:].any()
    assert all(parameter.grad.isfinite().all() for parameter in pooling.parameters())


def test_gpo_can_be_max_and_mean(vectors: Tensor) -> None:
    pooling = GeneralizedPooling(6)
    torch.nn.init.zeros_(pooling.score.weight)
    torch.testing.assert_close(pooling(vectors), vectors.mean(1))
    pooling.weights = lambda lengths, longest: torch.tensor([[1.0, 0, 0, 0, 0]])
    torch.testing.assert_close(pooling(vectors), vectors.max(1).values)
