"""Histograms of ranks as SVG, to stand in a page."""

from __future__ import annotations

import numpy as np

from vse_exp.pages.writing import Markup, fill, joined

EDGES = (1, 2, 6, 11, 21, 51, 101, 501, 1001, 5001, 10_001)
"""First rank (from 1) of each bin."""
WIDTH, HEIGHT = 360, 190
TOP, BOTTOM = 18, 24


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


def rank_histogram(ranks: np.ndarray, name: str) -> Markup:
    """Bars of the 0-based `ranks`, with their counts; `name` is what it shows, for readers."""
    bars = rank_counts(ranks)
    most = max(count for _, count in bars)
    step = WIDTH / len(bars)
    drawn = []
    for i, (label, count) in enumerate(bars):
        height = (HEIGHT - TOP - BOTTOM) * count / most
        drawn.append(
            fill(
                '<rect x="$x" y="$y" width="$width" height="$height" rx="2">'
                "<title>ranks $label: $count</title></rect>"
                '<text x="$middle" y="$above">$count</text>'
                '<text x="$middle" y="$below">$label</text>',
                x=f"{i * step + 2:.1f}",
                y=f"{HEIGHT - BOTTOM - height:.1f}",
                width=f"{step - 4:.1f}",
                height=f"{height:.1f}",
                middle=f"{(i + 0.5) * step:.1f}",
                above=f"{HEIGHT - BOTTOM - height - 5:.1f}",
                below=HEIGHT - 8,
                count=count,
                label=label,
            )
        )
    return fill(
        '<svg class="histogram" viewBox="0 0 $width $height" role="img" aria-label="$name">'
        '<line x1="0" x2="$width" y1="$base" y2="$base"/>$bars</svg>',
        width=WIDTH,
        height=HEIGHT,
        base=HEIGHT - BOTTOM,
        name=f"{name}: " + ", ".join(f"{label} {count}" for label, count in bars),
        bars=joined(drawn),
    )
