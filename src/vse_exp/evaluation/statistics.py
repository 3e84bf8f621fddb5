"""How sure a figure is, and whether two runs differ: resampling images with their captions.

Images are the unit, because the captions of one image are not independent of each other. All
queries are pooled: under the protocol `folds` medians are over all folds, not a mean of medians.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vse_exp.alive import doing
from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Ranks
from vse_exp.evaluation.metrics import EVERY, STANDARD, Metric, retrieval_metrics, with_rsum

AT_ONCE = 1 << 21
"""Resampled queries held at once."""
Figures = dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """One figure of two runs: values, `b - a` with its interval `low`, `high`, and the p-value of
    no difference.

    Intervals are of the paired bootstrap, `p` two-sided from the permutation test.
    """

    a: float
    b: float
    low: float
    high: float
    p: float
    a_interval: tuple[float, float]
    b_interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """How much `b` is above `a`."""
        return self.b - self.a


def bootstrap_intervals(
    ranks: Ranks,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    metrics: Sequence[Metric] = STANDARD,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals (Efron 1979) of each figure over images drawn with replacement."""
    _check(n_resamples, confidence)
    doing("resampling")
    sample = _Sample(ranks, metrics)
    drawn = _joined(sample.figures(weights) for weights in _draws(ranks, n_resamples, seed))
    return {name: percentile_interval(values, confidence) for name, values in drawn.items()}


def compare_ranks(
    a: Ranks,
    b: Ranks,
    n_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    metrics: Sequence[Metric] | None = None,
) -> dict[str, Comparison]:
    """Compare two runs on the same images and captions, figure by figure (`metrics` None: by all,
    where both have the ranks of all right answers, else by the standard ones).

    Paired bootstrap: both runs on the same drawn images. Permutation test: each image, with its
    captions, changes hands between the runs or not; `p` is the share of such changes, the actual
    one counted in, whose difference is at least as large.
    """
    _check(n_resamples, confidence)
    doing("resampling")
    for one, other in ((a.annotation, b.annotation), (a.search, b.search)):
        if not np.array_equal(one.image, other.image):
            raise UserError(
                f"The two runs were not ranked on the same queries ({a.protocol or 'a'}; "
                f"{b.protocol or 'b'}): evaluate both on one split under one protocol."
            )
    if metrics is None:
        metrics = EVERY if a.annotation.every and b.annotation.every else STANDARD
    observed_a, observed_b = (retrieval_metrics(r.annotation, r.search, metrics) for r in (a, b))
    of_a, of_b = _Sample(a, metrics), _Sample(b, metrics)
    drawn = [(of_a.figures(w), of_b.figures(w)) for w in _draws(a, n_resamples, seed)]
    boot_a, boot_b = map(_joined, zip(*drawn, strict=True))
    changed = _joined(
        _difference(of_b.figures(kept, of_a), of_a.figures(kept, of_b))
        for kept in _exchanges(a, n_resamples, seed + 1)
    )
    result = {}
    for name, actual in _difference(observed_b, observed_a).items():
        # figures are sums of floats: equal differences may differ in the last digits
        as_large = int((np.abs(changed[name]) >= abs(actual) - 1e-9).sum())
        p = (1 + as_large) / (1 + n_resamples)
        difference, *sides = (
            percentile_interval(samples, confidence)
            for samples in (boot_b[name] - boot_a[name], boot_a[name], boot_b[name])
        )
        result[name] = Comparison(observed_a[name], observed_b[name], *difference, p, *sides)
    return result


class _Sample:
    """Values of all queries, ready to be averaged with a weight an image."""

    def __init__(self, ranks: Ranks, metrics: Sequence[Metric]) -> None:
        self.parts = [
            (f"{letter}{metric.name}", metric, metric.values(answers), answers.image)
            for letter, answers in (("a", ranks.annotation), ("s", ranks.search))
            for metric in metrics
        ]
        n, means = ranks.n_images, [part for part in self.parts if not part[1].median]
        # of each mean its sum and its number of queries, by image
        sums = [np.bincount(image, values, minlength=n) for _, _, values, image in means]
        numbers = [np.bincount(image, minlength=n) for _, _, _, image in means]
        self.sums = np.array([*sums, *numbers], np.float64).reshape(2 * len(means), n)

    def figures(self, weights: np.ndarray, other: _Sample | None = None) -> Figures:
        """Figures (some,) where each image counts `weights` (n_images, some) times.

        `other`: a run that has what is left of one query an image where weights are 0 or 1.
        """
        totals = self.sums @ weights
        if other is not None:
            totals += other.sums.sum(1, keepdims=True) - other.sums @ weights
        means = iter(totals[: len(totals) // 2] / totals[len(totals) // 2 :])
        found = {}
        for index, (name, metric, values, image) in enumerate(self.parts):
            if not metric.median:
                average = next(means)
            elif other is None:
                average = _weighted_median(values, image, weights)
            else:
                pooled = np.concatenate([values, other.parts[index][2]])
                of_both = np.concatenate([image, image + len(weights)])
                average = _weighted_median(pooled, of_both, np.concatenate([weights, 1 - weights]))
            found[name] = metric.summary(average)
        return with_rsum(found)


def _joined(parts: Iterable[Figures]) -> Figures:
    every = list(parts)
    return {name: np.concatenate([part[name] for part in every]) for name in every[0]}


def _difference(b: dict[str, Any], a: dict[str, Any]) -> dict[str, Any]:
    return {name: b[name] - a[name] for name in b}


def _check(n_resamples: int, confidence: float) -> None:
    if n_resamples < 1 or not 0 < confidence < 1:
        raise UserError(
            f"{n_resamples} resamples at confidence {confidence}: at least one resample, and a "
            "confidence between 0 and 1."
        )


def _draws(ranks: Ranks, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn: float64 (n_images, some), n_resamples columns in all."""
    random, n = np.random.default_rng(seed), ranks.n_images
    for some in _portions(ranks, n_resamples):
        drawn = random.integers(n, size=(some, n), dtype=np.int32)
        drawn += n * np.arange(some, dtype=np.int32)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=some * n).reshape(some, n)
        yield np.ascontiguousarray(counts.T, np.float64)


def _exchanges(ranks: Ranks, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """1 for an image that stays, 0 for one that changes hands: float64 (n_images, some)."""
    random, n = np.random.default_rng(seed), ranks.n_images
    for some in _portions(ranks, n_resamples):
        yield np.ascontiguousarray((random.random((some, n)) >= 0.5).T, np.float64)


def _portions(ranks: Ranks, n_resamples: int) -> list[int]:
    step = max(1, AT_ONCE // len(ranks.search.image))
    return [min(step, n_resamples - start) for start in range(0, n_resamples, step)]


def _weighted_median(
    values: np.ndarray, image: np.ndarray, weights: np.ndarray, share: float = 0.0
) -> np.ndarray:
    """Medians (some,) of `values` (n,), each repeated as `weights` (n_images, some) has its image.

    Only the middle `share` of the values is sorted for each column, and all of them where some
    median lies outside it; 0: six standard deviations of a drawn share.
    """
    share = share or 6 / len(weights) ** 0.5
    limits = np.clip([0.5 - share / 2, 0.5 + share / 2], 0, 1)
    low, high = np.quantile(values, limits, method="nearest")
    rows = np.flatnonzero((values >= low) & (values <= high))
    rows = rows[np.argsort(values[rows], kind="stable")]
    middle = values[rows]
    firsts = np.flatnonzero(np.diff(middle, prepend=low - 1))
    counts = [np.bincount(image[some], minlength=len(weights)) for some in (values < low, ...)]
    below, total = np.array(counts, np.float64) @ weights
    reached = below + np.cumsum(np.add.reduceat(weights[image[rows]], firsts, axis=0), axis=0)
    middles = (total - 1) // 2, total // 2
    if share < 1 and ((middles[0] < below) | (middles[1] >= reached[-1])).any():
        return _weighted_median(values, image, weights, share=1)
    lower, upper = ((reached <= at).sum(0) for at in middles)
    distinct = middle[firsts]
    return (distinct[lower] + distinct[upper]) / 2


def percentile_interval(samples: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_mean(
    values: np.ndarray, image: np.ndarray, n_resamples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of values (n,) over images (n,) drawn with replacement."""
    names, unit = np.unique(image, return_inverse=True)
    totals = np.array([np.bincount(unit, values), np.bincount(unit)])
    random, means = np.random.default_rng(0), []
    for _ in range(n_resamples):
        drawn = random.integers(len(names), size=len(names))
        means.append(np.divide(*totals[:, drawn].sum(1)))
    return percentile_interval(np.array(means), confidence)
