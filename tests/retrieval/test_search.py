"""Exact search beside a full sort."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import random_features
from vse_exp.errors import UserError
from vse_exp.retrieval.search import GROUP, search


def by_sorting(queries: np.ndarray, gallery: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Best first, of equal scores the lower row."""
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    items = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, items, 1), items


def whole_numbers(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Products of these are exact in every number type, so that all differences count."""
    return random.integers(-8, 9, shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40 * GROUP),
    n_queries=st.integers(1, 9),
    k=st.integers(1, 40),
    half=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_finds_what_sorting_finds(n: int, n_queries: int, k: int, half: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    queries = whole_numbers(random, n_queries, 6)
    gallery = whole_numbers(random, n, 6).astype(np.float16 if half else np.float32)
    scores, items = search(queries, gallery, k)
    expected, _ = by_sorting(queries, gallery, k)
    assert scores.dtype == np.float32
    assert items.shape == (n_queries, min(k, n))
    np.testing.assert_array_equal(scores, expected)
    # ties are many: the items must have these scores, each item once
    np.testing.assert_array_equal(np.take_along_axis(queries @ gallery.T, items, 1), scores)
    assert all(len(set(row)) == len(row) for row in items.tolist())


@pytest.mark.parametrize(("rows", "queries"), [(1, 1), (7, 2), (64, 3), (1000, 1000)])
def test_blocks_do_not_change_the_result(
    rows: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("vse_exp.retrieval.search")  # the package has a function of that name
    monkeypatch.setattr(module, "BLOCK_ROWS", rows)
    monkeypatch.setattr(module, "BLOCK_QUERIES", queries)
    monkeypatch.setattr(module, "CONVERTED_ROWS", 5)
    random = np.random.default_rng(3)
    wanted, gallery = random.standard_normal((5, 16)), random.standard_normal((700, 16))
    expected, items = by_sorting(wanted, gallery, 4)
    for dtype in (np.float32, np.float64):
        found = search(wanted, gallery.astype(dtype), 4)
        np.testing.assert_array_equal(found.items, items)
        np.testing.assert_allclose(found.scores, expected, rtol=1e-5)


def test_equal_scores_come_in_order_of_rows() -> None:
    gallery = np.ones((3 * GROUP, 2), np.float32)
    np.testing.assert_array_equal(
        search(np.ones((1, 2)), gallery, len(gallery)).items[0], range(96)
    )


def test_reads_a_memory_map(tmp_path: Path) -> None:
    gallery = random_features(300, 8)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    np.testing.assert_array_equal(search(gallery[:3], mapped, 1).items[:, 0], [0, 1, 2])


def test_mistakes_are_told() -> None:
    rows = np.ones((2, 3), np.float32)
    with pytest.raises(UserError, match="3 dimensions and the gallery 4"):
        search(rows, np.ones((2, 4)), 1)
    with pytest.raises(UserError, match="NaN or Inf"):
        search(rows * np.nan, rows, 1)
    with pytest.raises(UserError, match="at least one"):
        search(rows, rows, 0)
