"""Order scores against the formula and numerical gradients, at zero too."""

from __future__ import annotations

import torch

from vse_exp.similarity import Order, find_similarity
from vse_exp.similarity import order as order_module

order_scores = Order()


def test_equals_the_similarity_of_evaluation_in_any_blocks(monkeypatch):
    torch.manual_seed(0)
    images, captions = torch.rand(7, 5), torch.rand(9, 5)
    expected = find_similarity("order")(images, captions)
    for block in (1, 100, 1 << 18):
        monkeypatch.setattr(order_module, "CACHE_ELEMENTS", block)
        assert torch.allclose(order_scores(images, captions), expected)


def test_gradient(monkeypatch):
    monkeypatch.setattr(order_module, "CACHE_ELEMENTS", 50)
    torch.manual_seed(0)
    images = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    captions = torch.rand(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(order_scores, (images, captions))


def test_gradient_is_zero_where_nothing_is_violated():
    images = torch.ones(3, 4, requires_grad=True)
    captions = torch.ones(3, 4, requires_grad=True)
    order_scores(images, captions).sum().backward()
    assert images.grad.eq(0).all()
    assert captions.grad.eq(0).all()
