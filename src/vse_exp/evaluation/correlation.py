"""Rank correlation of scores with what people said, with weights, so that it can be resampled."""

from __future__ import annotations

import numpy as np

from vse_exp.evaluation.statistics import percentile_interval


def correlations(
    scores: np.ndarray, human: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """`tau_b` and `tau_c` (Kendall 1945, Stuart 1953) and `spearman`, in percent.

    `scores`, `human` (n,); `weights` (n,): how often each pair counts. `tau_b` and `spearman` are
    NaN where either side is constant.
    """
    columns, score_of = np.unique(scores, return_inverse=True)
    levels, level_of = np.unique(human, return_inverse=True)
    cells = np.bincount(
        level_of * len(columns) + score_of, weights, minlength=len(levels) * len(columns)
    )
    return _of_table(cells.reshape(len(levels), len(columns)).astype(np.float64))


def _of_table(table: np.ndarray) -> dict[str, float]:
    """From the contingency table of human levels (rows) and scores (columns), both ascending."""
    by_level, by_score = table.sum(1), table.sum(0)
    table = table[by_level > 0][:, by_score > 0]
    by_level, by_score = by_level[by_level > 0], by_score[by_score > 0]
    n = by_level.sum()
    # of the pairs with a lower score: those of a lower level less those of a higher one
    lower = np.cumsum(table, 1) - table
    up_to = np.cumsum(lower, 0)
    concordance = (table * (2 * up_to - lower - up_to[-1])).sum()
    untied = [(n * n - (margin * margin).sum()) / 2 for margin in (by_level, by_score)]
    least = min(len(by_level), len(by_score))
    rows, columns = (np.cumsum(margin) - margin / 2 for margin in (by_level, by_score))
    rows, columns = rows - by_level @ rows / n, columns - by_score @ columns / n
    spread = np.sqrt((by_level @ rows**2) * (by_score @ columns**2))
    with np.errstate(invalid="ignore"):
        return {
            "tau_b": float(100 * concordance / np.sqrt(untied[0] * untied[1])),
            "tau_c": float(200 * concordance / (n * n * (least - 1) / least)) if least > 1 else 0.0,
            "spearman": float(100 * (rows @ table @ columns) / spread),
        }


def correlation_intervals(
    scores: np.ndarray,
    human: np.ndarray,
    image: np.ndarray,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of `correlations` over images (n,) drawn with all their pairs."""
    random = np.random.default_rng(seed)
    names, unit = np.unique(image, return_inverse=True)
    columns, score_of = np.unique(scores, return_inverse=True)
    levels, level_of = np.unique(human, return_inverse=True)
    cell = level_of * len(columns) + score_of
    shape = len(levels), len(columns)
    found = []
    for _ in range(n_resamples):
        drawn = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))
        cells = np.bincount(cell, drawn[unit].astype(np.float64), minlength=shape[0] * shape[1])
        found.append(_of_table(cells.reshape(shape)))
    return {
        name: percentile_interval(np.array([one[name] for one in found]), confidence)
        for name in found[0]
    }
