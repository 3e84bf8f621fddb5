"""Ranks counted in bins, as the page's histograms show them."""

from __future__ import annotations

import numpy as np

EDGES = (1, 2, 6, 11, 21, 51, 101, 501, 1001, 5001, 10_001)
"""First rank (from 1) of each bin."""


def rank_counts(ranks: np.ndarray) -> list[tuple[str, int]]:
    """How many 0-based ranks fall into each bin: its label and the count, up to the last in use."""
    edges = np.array([*EDGES, np.iinfo(np.int64).max]) - 1
    counts, _ = np.histogram(ranks, edges)
    last = int(np.flatnonzero(counts)[-1])
    return [(_label(i), int(counts[i])) for i in range(last + 1)]


def _label(index: int) -> str:
    if index + 1 == len(EDGES):
        return f"{_short(EDGES[index])}+"
    first, last = EDGES[index], EDGES[index + 1] - 1
    return _short(first) if first == last else f"{_short(first)}–{_short(last)}"


def _short(rank: int) -> str:
    return f"{rank // 1000}k" if rank >= 1000 and rank % 1000 < 2 else str(rank)
