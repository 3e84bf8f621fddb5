"""LazyAdam against torch's Adam on the dense gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vse_exp.errors import UserError
from vse_exp.optimizers import LazyAdam, build_optimizer, clip_grad_norm


class Model(nn.Module):
    """A table and a dense layer: the sum of a few rows, mapped to one number."""

    def __init__(self, words: int = 8, dim: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(words, dim)
        self.layer = nn.Linear(dim, 1)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.layer(self.table(words).sum(0).tanh()).square().sum()


def train(model: Model, optimizer: torch.optim.Optimizer, batches, clip: float | None = None):
    for words in batches:
        optimizer.zero_grad()
        model(words).backward()
        clip_grad_norm(model.parameters(), clip)
        optimizer.step()


def lazy_and_dense(lr: float = 0.01) -> tuple[Model, LazyAdam, Model, torch.optim.Adam]:
    lazy, dense = Model(), Model()
    optimizer = build_optimizer(lazy, lambda groups: LazyAdam(groups, lr=lr))
    assert lazy.table.sparse
    assert isinstance(optimizer, LazyAdam)
    return lazy, optimizer, dense, torch.optim.Adam(dense.parameters(), lr)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_equals_adam_where_all_rows_occur(clip):
    lazy, optimizer, dense, adam = lazy_and_dense()
    torch.manual_seed(3)
    batches = [torch.tensor([*torch.randperm(8), 3, 3, 5]) for _ in range(30)]
    train(lazy, optimizer, batches, clip)
    train(dense, adam, batches, clip)
    for ours, theirs in zip(lazy.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)


def test_only_rows_that_occur_move():
    lazy, optimizer, *_ = lazy_and_dense()
    train(lazy, optimizer, [torch.tensor([0, 1, 2])])
    before = lazy.table.weight.detach().clone()
    train(lazy, optimizer, [torch.tensor([2, 4])])
    moved = (lazy.table.weight != before).any(1)
    assert moved.nonzero().flatten().tolist() == [2, 4]


@pytest.mark.parametrize("absent", [1, 4, 200])
def test_a_row_that_comes_back_has_caught_up_with_adam(absent):
    """Moments exactly, and moves nearly: Adam's own after so many updates with zero gradient."""
    torch.manual_seed(1)
    rows, grads = 3, [torch.randn(3, 4) for _ in range(300)]
    lazy_table, dense_table = (nn.Parameter(torch.zeros(rows, 4)) for _ in range(2))
    lazy, dense = LazyAdam([lazy_table], lr=0.01), torch.optim.Adam([dense_table], 0.01)

    def update(grad, present):
        index = torch.tensor([present])
        lazy_table.grad = torch.sparse_coo_tensor(
            index, grad[present], (rows, 4), check_invariants=True
        )
        dense_table.grad = torch.zeros(rows, 4)
        dense_table.grad[present] = grad[present]
        lazy.step()
        dense.step()

    for grad in grads:
        update(grad, [0, 1, 2])
    for _ in range(absent):
        update(grads[0], [0])
    missing = (lazy_table - dense_table).abs().max()
    update(grads[1], [0, 1, 2])
    assert (lazy_table - dense_table).abs().max() < 0.05 * missing
    for moment in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(
            lazy.state[lazy_table][moment], dense.state[dense_table][moment], atol=1e-6, rtol=1e-4
        )


def test_it_goes_on_where_its_state_was_saved():
    torch.manual_seed(2)
    batches = [torch.randint(8, (3,)) for _ in range(20)]
    whole, optimizer, *_ = lazy_and_dense()
    train(whole, optimizer, batches)
    first, optimizer, *_ = lazy_and_dense()
    train(first, optimizer, batches[:9])
    state = copy.deepcopy(optimizer.state_dict())
    second, resumed, *_ = lazy_and_dense()
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(state)
    train(second, resumed, batches[9:])
    for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_are_left_in_place_and_the_closure_is_called():
    lazy, optimizer, *_ = lazy_and_dense()

    def closure():
        optimizer.zero_grad()
        loss = lazy(torch.tensor([1, 1, 2]))
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == Model()(torch.tensor([1, 1, 2])).item()
    assert lazy.table.weight.grad is not None
    assert lazy.table.weight.grad.is_sparse


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"optimizer.betas"):
        LazyAdam(Model().parameters(), betas=(0.9, 0.8))
