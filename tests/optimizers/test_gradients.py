"""Clipping against its formula, and sparse gradients against dense ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vse_exp.optimizers import DenseGradients, clip_grad_norm


def with_gradients(*grads: torch.Tensor) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(grad.shape, dtype=grad.dtype)) for grad in grads]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    return parameters


def test_by_hand():
    parameters = with_gradients(torch.tensor([3.0]), torch.tensor([[4.0, 0.0]]))
    assert clip_grad_norm(parameters, 2.0).item() == pytest.approx(5.0)
    assert parameters[0].grad.item() == pytest.approx(1.2)
    assert parameters[1].grad.tolist() == [[pytest.approx(1.6), 0.0]]


@pytest.mark.parametrize("max_norm", [None, 5.0, 100.0])
def test_short_gradients_stay_as_they_are(max_norm):
    grads = [torch.tensor([3.0]), torch.tensor([4.0])]
    parameters = with_gradients(*(grad.clone() for grad in grads))
    parameters.append(nn.Parameter(torch.zeros(2)))  # without gradient
    clip_grad_norm(parameters, max_norm)
    assert [parameter.grad for parameter in parameters] == [*grads, None]


def test_zero_and_missing_gradients():
    parameters = with_gradients(torch.zeros(3))
    assert clip_grad_norm(parameters, 2.0).item() == 0
    assert parameters[0].grad.eq(0).all()
    assert clip_grad_norm([nn.Parameter(torch.zeros(2))], 2.0).item() == 0


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_sparse_and_dense_gradients_are_clipped_alike(rows, seed):
    """Repeated rows are added up before the norm is taken."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(rows), 3, generator=generator, dtype=torch.float64)
    other = torch.randn(4, generator=generator, dtype=torch.float64)
    sparse = torch.sparse_coo_tensor(torch.tensor([rows]), values, (5, 3), check_invariants=True)
    parameters = with_gradients(sparse, other.clone())
    dense = with_gradients(sparse.to_dense(), other.clone())
    ours, theirs = (clip_grad_norm(each, 0.5).item() for each in (parameters, dense))
    assert ours == pytest.approx(theirs)
    assert parameters[0].grad.is_sparse
    assert torch.allclose(parameters[0].grad.to_dense(), dense[0].grad)
    assert torch.allclose(parameters[1].grad, dense[1].grad)


@settings(max_examples=25, deadline=None)
@given(updates=st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=4))
def test_sparse_gradients_become_the_dense_ones_at_every_update(updates):
    """Rows of earlier updates are cleared, repeated ones added up, dense gradients left alone."""
    generator = torch.Generator().manual_seed(len(updates))
    table, other = nn.Parameter(torch.zeros(5, 3)), nn.Parameter(torch.zeros(2))
    unused = nn.Parameter(torch.zeros(2))
    gradients = DenseGradients()
    for rows in updates:
        values = torch.randn(len(rows), 3, generator=generator)
        indices = torch.tensor([rows], dtype=torch.int64)
        table.grad = torch.sparse_coo_tensor(indices, values, (5, 3), check_invariants=True)
        expected = table.grad.to_dense()
        other.grad = values.new_ones(2)
        gradients.replace([table, other, unused])
        assert not table.grad.is_sparse
        assert torch.allclose(table.grad, expected)
        assert other.grad.tolist() == [1, 1]
        assert unused.grad is None
