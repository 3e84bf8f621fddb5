"""A batch of captions as a tree of prefixes, so that equal beginnings are computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Items put into groups: group g holds the items `order[starts[g]:starts[g + 1]]`."""

    order: Tensor
    starts: Tensor

    @classmethod
    def of(cls, labels: np.ndarray, count: int) -> Groups:
        """Groups 0 … count - 1 of the items with those labels, int64 (n,)."""
        order = np.argsort(labels, kind="stable")
        starts = np.zeros(count, dtype=np.int64)
        np.cumsum(np.bincount(labels, minlength=count)[:-1], out=starts[1:])
        return cls(torch.from_numpy(order), torch.from_numpy(starts))

    def sum(self, rows: Tensor) -> Tensor:
        """Sum of each group's rows: (n, d) to (groups, d)."""
        # on CPU the quickest of torch's ways by far; index_add_ and sparse products follow
        return torch.embedding_bag(rows, self.order, self.starts, mode=0)[0]


@dataclass(frozen=True)
class Level:
    """The nodes of one depth: prefixes of so many words."""

    rows: slice
    """Their place among all nodes."""
    inputs: Tensor
    """For each node, the input row of its last word."""
    parents: slice | Tensor
    """The nodes that they grow from, each once; none at the first level."""
    sums: slice
    """The place of those parents among all nodes that something grows from."""
    branch: Tensor | None
    """For each node, its parent's place in `parents`; None where each has one child, in order."""
    children: Groups | None
    """The nodes of each parent; None where `branch` is."""


@dataclass(frozen=True)
class PrefixTree:
    """A node for every different prefix, numbered by depth.

    A caption that has ended has no nodes further down, so captions of different lengths need
    neither padding nor masks.
    """

    levels: list[Level]
    nodes: Tensor
    """For each position of the batch its node, int64 (B, T); 0 behind a caption's end."""
    ends: Tensor
    """The node of each caption's last word, int64 (B,)."""
    by_input: Groups
    """The nodes of each input row."""
    parents: slice | Tensor
    """All nodes that something grows from, in the order of `Level.sums`."""

    def __len__(self) -> int:
        return self.levels[-1].rows.stop


def prefix_tree(places: Tensor, count: int, lengths: Tensor | None = None) -> PrefixTree:
    """The tree of a batch of captions whose words are given as input rows, `places` (B, T), of the
    `count` that there are; the first `lengths` (B,) of each row count.
    """
    ids = places.numpy()
    batch, longest = ids.shape
    ends = np.full(batch, longest) if lengths is None else lengths.numpy()
    inside = np.arange(longest) < ends[:, None]
    # -1 behind the end: captions that end come before those that go on in the same way
    ids = np.where(inside, ids, -1)
    order = np.lexsort(ids.T[::-1])
    ids, inside = ids[order], inside[order]
    # a prefix is new where it differs from the caption before, in this word or an earlier one
    new = np.ones(ids.shape, dtype=bool)
    np.logical_or.accumulate(ids[1:] != ids[:-1], axis=1, out=new[1:])
    new &= inside
    first = np.concatenate([[0], np.cumsum(new.sum(0))])
    sorted_nodes = np.where(inside, np.cumsum(new, axis=0) - 1 + first[:-1], 0)
    levels, all_parents, done = [], [np.zeros(0, dtype=np.int64)], 0
    for depth in range(int(ends.max())):
        rows = slice(int(first[depth]), int(first[depth + 1]))
        starts = new[:, depth]
        inputs = torch.from_numpy(ids[starts, depth])
        if depth == 0:
            levels.append(Level(rows, inputs, slice(0, 0), slice(0, 0), None, None))
            continue
        parents, branch = np.unique(sorted_nodes[starts, depth - 1], return_inverse=True)
        all_parents.append(parents)
        sums = slice(done, done + len(parents))
        done = sums.stop
        single = len(parents) == len(branch)
        levels.append(
            Level(
                rows,
                inputs,
                _as_slice(parents),
                sums,
                None if single else torch.from_numpy(branch),
                None if single else Groups.of(branch, len(parents)),
            )
        )
    nodes = np.empty_like(sorted_nodes)
    nodes[order] = sorted_nodes
    return PrefixTree(
        levels,
        torch.from_numpy(nodes),
        torch.from_numpy(nodes[np.arange(batch), ends - 1]),
        Groups.of(torch.cat([level.inputs for level in levels]).numpy(), count),
        _as_slice(np.concatenate(all_parents)),
    )


def _as_slice(rows: np.ndarray) -> slice | Tensor:
    """Neighbouring rows as a slice, which needs no copy."""
    if len(rows) == 0:
        return slice(0, 0)
    start, stop = int(rows[0]), int(rows[-1]) + 1
    return slice(start, stop) if stop - start == len(rows) else torch.from_numpy(rows)
