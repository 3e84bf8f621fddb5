"""Gradients of the recurrences against finite differences."""

from __future__ import annotations

import pytest
import torch

from vse_exp.models.prefix_tree import prefix_tree
from vse_exp.models.recurrence import gru, lstm


@pytest.mark.parametrize(("scan", "gates"), [(gru, 3), (lstm, 4)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lengths", [None, [4, 1, 3, 2, 4, 4]])
def test_gradcheck(scan, gates, bias, lengths) -> None:
    torch.manual_seed(0)
    places = torch.randint(0, 3, (6, 4))
    tree = prefix_tree(places, 3, None if lengths is None else torch.tensor(lengths))
    inputs = [
        torch.randn(shape, dtype=torch.double, requires_grad=True)
        for shape in ((3, gates * 2), (gates * 2, 2), (gates * 2,))[: 2 + bias]
    ]
    assert torch.autograd.gradcheck(
        lambda projected, weight, bias=None: scan(projected, weight, bias, tree), inputs
    )


@pytest.mark.parametrize("scan", [gru, lstm])
def test_a_caption_of_one_word_needs_no_state_before(scan) -> None:
    gates = 3 if scan is gru else 4
    projected = torch.randn(2, gates * 3, requires_grad=True)
    weight = torch.randn(gates * 3, 3, requires_grad=True)
    states = scan(projected, weight, None, prefix_tree(torch.tensor([[1], [0]]), 2))
    states.sum().backward()
    assert states.shape == (2, 3)
    assert weight.grad is not None
    assert not weight.grad.any()
