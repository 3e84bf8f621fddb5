"""Clipping and weight decay against their formulas, for sparse gradients too."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vse_exp.errors import UserError
from vse_exp.optimizers import add_weight_decay, clip_grad_norm


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


def test_weight_decay_is_that_of_the_penalty_in_the_loss():
    torch.manual_seed(0)
    model, copy = nn.Linear(3, 2), nn.Linear(3, 2)
    copy.load_state_dict(model.state_dict())
    unused = nn.Parameter(torch.ones(2))  # decays although the loss does not reach it
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    x = torch.randn(4, 3)
    parameters = [*copy.parameters(), unused]
    penalty = 0.1 * sum(parameter.square().sum() for parameter in parameters)
    (copy(x).sum() + penalty).backward()
    model(x).sum().backward()
    expected = [parameter.grad for parameter in parameters]
    unused.grad = None
    decayed = [*model.parameters(), unused, frozen]
    assert add_weight_decay(decayed, 0.1).item() == pytest.approx(penalty.item())
    for parameter, grad in zip(decayed, expected, strict=False):
        assert torch.allclose(parameter.grad, grad)
    assert frozen.grad is None


def test_weight_decay_of_sparse_gradients_is_refused():
    sparse = torch.sparse_coo_tensor(
        torch.tensor([[0]]), torch.ones(1, 2), (3, 2), check_invariants=True
    )
    with pytest.raises(UserError, match=r"decay_c=0"):
        add_weight_decay(with_gradients(sparse), 0.1)
