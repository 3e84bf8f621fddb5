"""How sure a figure is, and whether two runs differ: resampling images with their captions.

Images are the unit, because the captions of one image are not independent of each other. All
queries are pooled: under the protocol `folds` medians are over all folds, not a mean of medians.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import KEYS, RECALLS, retrieval_metrics
from vse_exp.evaluation.rank_files import Ranks

FIGURES = (*KEYS, "rsum")
AT_ONCE = 1 << 21
"""Resampled queries held at once."""


@dataclass(frozen=True)
class Comparison:
    """One figure of two runs: values, `b - a` with its interval, and the p-value of no difference.

    The interval is of the paired bootstrap, `p` two-sided from the permutation test.
    """

    a: float
    b: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        """How much `b` is above `a`."""
        return self.b - self.a


def bootstrap_intervals(
    ranks: Ranks, n_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile intervals (Efron 1979) of each figure over images drawn with replacement."""
    _check(n_resamples, confidence)
    samples = [_weighted(ranks, drawn) for drawn in _draws(ranks, n_resamples, seed)]
    return {
        name: _interval(np.concatenate([one[name] for one in samples]), confidence)
        for name in FIGURES
    }


def compare_ranks(
    a: Ranks, b: Ranks, n_resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Comparison]:
    """Compare two runs on the same images and captions, figure by figure.

    Paired bootstrap: both runs on the same drawn images. Permutation test: each image, with its
    captions, changes hands between the runs or not; `p` is the share of such changes, the actual
    one counted in, whose difference is at least as large.
    """
    _check(n_resamples, confidence)
    if not np.array_equal(a.caption_image, b.caption_image):
        raise UserError(
            f"The two runs were not ranked on the same queries ({a.protocol or 'a'}; "
            f"{b.protocol or 'b'}): evaluate both on one split under one protocol."
        )
    observed_a = retrieval_metrics(a.annotation, a.search)
    observed_b = retrieval_metrics(b.annotation, b.search)
    boot: list[dict[str, np.ndarray]] = []
    for drawn in _draws(a, n_resamples, seed):
        of_a, of_b = _weighted(a, drawn), _weighted(b, drawn)
        boot.append({name: of_b[name] - of_a[name] for name in FIGURES})
    changed = [
        {name: np.abs(second[name] - first[name]) for name in FIGURES}
        for first, second in _exchanges(a, b, n_resamples, seed + 1)
    ]
    result = {}
    for name in FIGURES:
        low, high = _interval(np.concatenate([one[name] for one in boot]), confidence)
        differences = np.concatenate([one[name] for one in changed])
        actual = abs(observed_b[name] - observed_a[name])
        # figures are sums of floats: equal differences may differ in the last digits
        as_large = int((differences >= actual - 1e-9).sum())
        p = (1 + as_large) / (1 + n_resamples)
        result[name] = Comparison(observed_a[name], observed_b[name], low, high, p)
    return result


def _check(n_resamples: int, confidence: float) -> None:
    if n_resamples < 1 or not 0 < confidence < 1:
        raise UserError(
            f"{n_resamples} resamples at confidence {confidence}: at least one resample, and a "
            "confidence between 0 and 1."
        )


def _draws(ranks: Ranks, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn: int64 (some, n_images), n_resamples rows in all."""
    random, n = np.random.default_rng(seed), len(ranks.annotation)
    for some in _portions(ranks, n_resamples):
        drawn = random.integers(n, size=(some, n)) + n * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n)


def _exchanges(
    a: Ranks, b: Ranks, n_resamples: int, seed: int
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Figures (some,) of the two runs after images changed hands at random."""
    random, n = np.random.default_rng(seed), len(a.annotation)
    for some in _portions(a, n_resamples):
        swapped = random.random((some, n)) < 0.5
        of_captions = swapped[:, a.caption_image]
        yield (
            _plain(
                np.where(swapped, b.annotation, a.annotation),
                np.where(of_captions, b.search, a.search),
            ),
            _plain(
                np.where(swapped, a.annotation, b.annotation),
                np.where(of_captions, a.search, b.search),
            ),
        )


def _portions(ranks: Ranks, n_resamples: int) -> list[int]:
    step = max(1, AT_ONCE // len(ranks.search))
    return [min(step, n_resamples - start) for start in range(0, n_resamples, step)]


def _plain(annotation: np.ndarray, search: np.ndarray) -> dict[str, np.ndarray]:
    """Figures (some,) of ranks (some, n_images) and (some, n_captions)."""
    figures: dict[str, np.ndarray] = {}
    for letter, ranks in (("a", annotation), ("s", search)):
        figures |= {f"{letter}R@{k}": 100 * (ranks < k).mean(1) for k in RECALLS}
        figures[f"{letter}Medr"] = np.floor(np.median(ranks, axis=1)) + 1
        figures[f"{letter}Meanr"] = ranks.mean(1) + 1
    return figures | {"rsum": _recall_sum(figures)}


def _weighted(ranks: Ranks, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Figures (some,) where each image, with its captions, counts as often as it was drawn."""
    figures: dict[str, np.ndarray] = {}
    own = np.arange(len(ranks.annotation))
    for letter, values, image in (
        ("a", ranks.annotation, own),
        ("s", ranks.search, ranks.caption_image),
    ):
        hits = [np.bincount(image, values < k, minlength=len(own)) for k in RECALLS]
        sums = np.bincount(image, values, minlength=len(own))
        queries = np.bincount(image, minlength=len(own))
        *found, total, n_queries = (drawn @ np.stack([*hits, sums, queries], 1)).T
        figures |= {
            f"{letter}R@{k}": 100 * hit / n_queries for k, hit in zip(RECALLS, found, strict=True)
        }
        figures[f"{letter}Medr"] = np.floor(_weighted_median(values, drawn, image)) + 1
        figures[f"{letter}Meanr"] = total / n_queries + 1
    return figures | {"rsum": _recall_sum(figures)}


def _weighted_median(values: np.ndarray, drawn: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Medians (some,) of `values`, each repeated as often as its image was `drawn`."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(drawn[:, image[order]], axis=1)
    total = reached[:, -1:]
    lower, upper = ((reached <= at).sum(1) for at in ((total - 1) // 2, total // 2))
    return (values[order][lower] + values[order][upper]) / 2


def _recall_sum(figures: dict[str, np.ndarray]) -> np.ndarray:
    return np.sum([figures[f"{letter}R@{k}"] for letter in "as" for k in RECALLS], axis=0)


def _interval(samples: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)
