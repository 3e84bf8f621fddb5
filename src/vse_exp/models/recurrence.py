"""GRU and LSTM over a prefix tree, as one autograd node each.

Products with input weights are the caller's, once for each different word; here is what depends on
the step before. Gradients of all steps are kept side by side, so that the weights' is one product.
The initial state is zero: the first step has no product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vse_exp.models.prefix_tree import Level, PrefixTree

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def gru(projected: Tensor, weight: Tensor, bias: Tensor | None, tree: PrefixTree) -> Tensor:
    """States of all nodes, (n_nodes, H), of a GRU with its gates in torch's order r, z, n.

    `projected` (n_inputs, 3H) are the inputs times their weights, bias added; `weight` (3H, H) and
    `bias` (3H,) those of the state: `r, z = sigmoid(x + W h + b)`, `n = tanh(x + r (W h + b))`,
    `h' = (1 - z) n + z h`.
    """
    if _records(projected, weight, bias):
        return _GRU.apply(projected, weight, bias, tree)
    return _gru_states(projected, weight, bias, tree, None)


def lstm(projected: Tensor, weight: Tensor, bias: Tensor | None, tree: PrefixTree) -> Tensor:
    """States of all nodes, (n_nodes, H), of an LSTM with its gates in torch's order i, f, g, o.

    `projected` (n_inputs, 4H), `weight` (4H, H) and `bias` (4H,) as for `gru`:
    `c' = sigmoid(f) c + sigmoid(i) tanh(g)`, `h' = sigmoid(o) tanh(c')`.
    """
    if _records(projected, weight, bias):
        return _LSTM.apply(projected, weight, bias, tree)
    return _lstm_states(projected, weight, bias, tree, None)


def _records(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _from_parents(values: Tensor, level: Level) -> Tensor:
    """For each child, its parent's row of `values` (n_parents, d)."""
    return values if level.branch is None else values.index_select(0, level.branch)


def _to_parents(values: Tensor, level: Level) -> Tensor:
    """For each parent, the sum of its children's rows of `values` (n_children, d)."""
    return values if level.children is None else level.children.sum(values)


def _products(states: Tensor, weight: Tensor, bias: Tensor | None, level: Level) -> Tensor | None:
    """`W h + b` of each child's parent; None where that is zero."""
    if level.rows.start == 0:
        return None if bias is None else bias.expand(level.rows.stop, -1)
    parents = states[level.parents]
    products = parents @ weight.T if bias is None else torch.addmm(bias, parents, weight.T)
    return _from_parents(products, level)


def _gru_states(
    projected: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tree: PrefixTree,
    kept: list[Tensor | None] | None,
) -> Tensor:
    """The forward pass; appends what the backward pass needs to `kept`, three tensors a level."""
    size = weight.shape[1]
    states = projected.new_empty(len(tree), size)
    for level in tree.levels:
        gates = projected.index_select(0, level.inputs)
        products = _products(states, weight, bias, level)
        reset_update, new = gates.split([2 * size, size], 1)
        new_product = None
        if products is not None:
            reset_update += products[:, : 2 * size]
            new_product = products[:, 2 * size :]
        reset, update = reset_update.sigmoid_().split(size, 1)
        if new_product is not None:
            new.addcmul_(reset, new_product)
        new.tanh_()
        before = _from_parents(states[level.parents], level)
        if len(before):
            torch.lerp(new, before, update, out=states[level.rows])
        else:
            torch.addcmul(new, update, new, value=-1, out=states[level.rows])
        if kept is not None:
            kept += (reset_update, new, new_product)
    return states


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weight: Tensor, bias: Tensor | None, tree: PrefixTree
    ) -> Tensor:
        kept: list[Tensor | None] = []
        states = _gru_states(projected, weight, bias, tree, kept)
        ctx.save_for_backward(weight, bias, states, *kept)
        ctx.tree = tree
        return states

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        weight, bias, states, *kept = ctx.saved_tensors
        tree: PrefixTree = ctx.tree
        size = weight.shape[1]
        grad_states = grad_outputs[0].clone()
        inputs = states.new_empty(len(tree), 3 * size)
        products = states.new_empty(tree.levels[-1].sums.stop, 3 * size)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        for depth, level in reversed(list(enumerate(tree.levels))):
            reset_update, new, new_product = kept[3 * depth : 3 * depth + 3]
            reset, update = reset_update.split(size, 1)
            grad = grad_states[level.rows]
            grad_reset, grad_update, grad_new = inputs[level.rows].split(size, 1)
            through = grad * update
            _tanh_backward(grad - through, new, grad_input=grad_new)
            before = _from_parents(states[level.parents], level)
            change = before - new if depth else -new
            _sigmoid_backward(change.mul_(grad), update, grad_input=grad_update)
            if new_product is None:
                grad_reset.zero_()
                continue
            _sigmoid_backward(grad_new * new_product, reset, grad_input=grad_reset)
            product = inputs[level.rows].clone()
            product[:, 2 * size :] *= reset
            if grad_bias is not None:
                grad_bias += product.sum(0)
            if depth:
                products[level.sums] = product = _to_parents(product, level)
                through = _to_parents(through, level)
                grad_states[level.parents] += torch.addmm(through, product, weight)
        grad_weight = products.T @ states[tree.parents]
        return tree.by_input.sum(inputs), grad_weight, grad_bias, None


def _lstm_states(
    projected: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tree: PrefixTree,
    kept: list[Tensor] | None,
) -> Tensor:
    """The forward pass; appends the gates of each level to `kept`, and then all cells."""
    size = weight.shape[1]
    states = projected.new_empty(len(tree), size)
    cells = torch.empty_like(states)
    for level in tree.levels:
        gates = projected.index_select(0, level.inputs)
        products = _products(states, weight, bias, level)
        if products is not None:
            gates += products
        gates[:, : 2 * size].sigmoid_()
        gates[:, 2 * size : 3 * size].tanh_()
        gates[:, 3 * size :].sigmoid_()
        take, keep, new, give = gates.split(size, 1)
        cell = torch.mul(take, new, out=cells[level.rows])
        before = _from_parents(cells[level.parents], level)
        if len(before):
            cell.addcmul_(keep, before)
        torch.tanh(cell, out=states[level.rows]).mul_(give)
        if kept is not None:
            kept.append(gates)
    if kept is not None:
        kept.append(cells)
    return states


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weight: Tensor, bias: Tensor | None, tree: PrefixTree
    ) -> Tensor:
        kept: list[Tensor] = []
        states = _lstm_states(projected, weight, bias, tree, kept)
        ctx.save_for_backward(weight, bias, states, *kept)
        ctx.tree = tree
        return states

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        weight, bias, states, *kept, cells = ctx.saved_tensors
        tree: PrefixTree = ctx.tree
        size = weight.shape[1]
        grad_states = grad_outputs[0].clone()
        grad_cells = torch.zeros_like(cells)
        inputs = states.new_empty(len(tree), 4 * size)
        products = states.new_empty(tree.levels[-1].sums.stop, 4 * size)
        for depth, level in reversed(list(enumerate(tree.levels))):
            take, keep, new, give = kept[depth].split(size, 1)
            grad = grad_states[level.rows]
            grad_take, grad_keep, grad_new, grad_give = inputs[level.rows].split(size, 1)
            squashed = cells[level.rows].tanh()
            _sigmoid_backward(grad * squashed, give, grad_input=grad_give)
            grad_cell = torch.ops.aten.tanh_backward(grad * give, squashed)
            grad_cell += grad_cells[level.rows]
            _sigmoid_backward(grad_cell * new, take, grad_input=grad_take)
            _tanh_backward(grad_cell * take, new, grad_input=grad_new)
            if depth == 0:
                grad_keep.zero_()
                continue
            before = _from_parents(cells[level.parents], level)
            _sigmoid_backward(grad_cell * before, keep, grad_input=grad_keep)
            product = _to_parents(inputs[level.rows], level)
            products[level.sums] = product
            grad_states[level.parents] += product @ weight
            grad_cells[level.parents] += _to_parents(grad_cell.mul_(keep), level)
        grad_weight = products.T @ states[tree.parents]
        grad_bias = None if bias is None else inputs.sum(0)
        return tree.by_input.sum(inputs), grad_weight, grad_bias, None
