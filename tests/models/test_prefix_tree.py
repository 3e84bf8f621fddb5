"""The prefix tree against a set of tuples."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vse_exp.models.prefix_tree import Groups, prefix_tree

CAPTIONS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(captions=CAPTIONS)
def test_every_prefix_is_one_node(captions: list[list[int]]) -> None:
    lengths = torch.tensor([len(caption) for caption in captions])
    longest = int(lengths.max())
    # what stands behind a caption's end must not matter
    places = torch.tensor([caption + [3] * (longest - len(caption)) for caption in captions])
    tree = prefix_tree(places, 4, lengths)
    prefixes = {tuple(c[: i + 1]): int(tree.nodes[row, i]) for row, c in enumerate(captions)
                for i in range(len(c))}  # fmt: skip
    assert len(tree) == len(prefixes) == len(set(prefixes.values()))
    for row, caption in enumerate(captions):
        for depth in range(len(caption)):
            assert prefixes[tuple(caption[: depth + 1])] == tree.nodes[row, depth]
        assert tree.ends[row] == prefixes[tuple(caption)]

    nodes = {node: prefix for prefix, node in prefixes.items()}
    all_parents = torch.arange(len(tree))[tree.parents].tolist()
    for depth, level in enumerate(tree.levels):
        ids = range(len(tree))[level.rows]
        assert [len(nodes[node]) for node in ids] == [depth + 1] * len(ids)
        assert [nodes[node][-1] for node in ids] == level.inputs.tolist()
        parents = torch.arange(len(tree))[level.parents]
        assert all_parents[level.sums] == parents.tolist()
        if depth:
            of_child = parents if level.branch is None else parents[level.branch]
            assert [nodes[int(p)] for p in of_child] == [nodes[node][:-1] for node in ids]
        if level.children is not None:
            ones = torch.ones(len(ids), 1)
            assert level.children.sum(ones).sum() == len(ids)
    by_input = tree.by_input.sum(torch.ones(len(tree), 1))[:, 0]
    assert by_input.tolist() == [sum(prefix[-1] == i for prefix in prefixes) for i in range(4)]


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 4), max_size=20))
def test_groups_sum_like_a_loop(labels: list[int]) -> None:
    values = torch.arange(2.0 * len(labels)).view(-1, 2)
    groups = Groups.of(torch.tensor(labels, dtype=torch.int64).numpy(), 5)
    expected = torch.zeros(5, 2).index_add(0, torch.tensor(labels, dtype=torch.int64), values)
    torch.testing.assert_close(groups.sum(values), expected)
