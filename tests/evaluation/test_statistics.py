"""Intervals and tests against loops over drawn images, and on runs whose difference is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from vse_exp.errors import UserError
from vse_exp.evaluation import statistics
from vse_exp.evaluation.answers import Answers, Ranks
from vse_exp.evaluation.metrics import STANDARD, retrieval_metrics
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.rank_files import read_ranks, write_ranks
from vse_exp.evaluation.statistics import bootstrap_intervals, compare_ranks


def pairs(annotation: np.ndarray, search: np.ndarray, caption_image: np.ndarray) -> Ranks:
    return Ranks(Answers.of_first(annotation), Answers.of_first(search, caption_image))


def random_ranks(seed: int, n_images: int = 30, low: float = 0.1) -> Ranks:
    random = np.random.default_rng(seed)
    mapping = np.concatenate([np.arange(n_images), np.arange(3 * n_images) ** 2 % n_images])
    return pairs(
        random.geometric(low, n_images) - 1, random.geometric(low, len(mapping)) - 1, mapping
    )


def repeated(ranks: Ranks, drawn: np.ndarray) -> dict[str, float]:
    """Figures of images, with their captions, written out as often as they were drawn."""
    images = np.repeat(np.arange(len(drawn)), drawn)
    captions = np.concatenate([np.flatnonzero(ranks.search.image == i) for i in images])
    return retrieval_metrics(ranks.annotation.first[images], ranks.search.first[captions])


def test_figures_of_drawn_images_equal_those_of_copies() -> None:
    ranks = random_ranks(0)
    drawn = np.concatenate(list(statistics._draws(ranks, 25, seed=3)), 1).T
    assert drawn.shape == (25, 30)
    assert (drawn.sum(1) == 30).all()
    found = statistics._Sample(ranks, STANDARD).figures(drawn.T)
    for row, weights in enumerate(drawn):
        for name, value in repeated(ranks, weights.astype(int)).items():
            assert found[name][row] == pytest.approx(value), name


def test_portions_change_only_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = random_ranks(0)
    monkeypatch.setattr(statistics, "AT_ONCE", 7 * len(ranks.search.image))
    drawn = list(statistics._draws(ranks, 25, seed=3))
    assert [part.shape[1] for part in drawn] == [7, 7, 7, 4]


def test_intervals_hold_the_figure_and_shrink_with_more_images() -> None:
    widths = []
    for n_images in (30, 480):
        ranks = random_ranks(1, n_images)
        observed = retrieval_metrics(ranks.annotation, ranks.search)
        intervals = bootstrap_intervals(ranks, 500)
        assert set(intervals) == set(observed)
        assert all(low <= observed[name] <= high for name, (low, high) in intervals.items())
        low, high = intervals["aR@5"]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.35)


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    ranks = pairs(np.arange(400) % 2 * 50, np.zeros(400, int), np.arange(400))
    low, high = bootstrap_intervals(ranks, 4000)["aR@10"]
    spread = 1.96 * 100 * np.sqrt(0.25 / 400)
    assert (low, high) == (pytest.approx(50 - spread, abs=0.6), pytest.approx(50 + spread, abs=0.6))


def test_equal_runs_do_not_differ() -> None:
    ranks = random_ranks(2)
    for one in compare_ranks(ranks, ranks, 100).values():
        assert (one.difference, one.low, one.high, one.p) == (0, 0, 0, 1)


def test_a_better_run_is_found_better() -> None:
    a = random_ranks(3, 200)
    b = pairs(a.annotation.first // 2, a.search.first // 2, a.search.image)
    compared = compare_ranks(a, b, 300)
    assert compared["rsum"].low > 0
    assert compared["rsum"].p == pytest.approx(1 / 301)
    assert compared["sMeanr"].high < 0
    turned = compare_ranks(b, a, 300)
    assert turned["rsum"].difference == -compared["rsum"].difference
    assert turned["rsum"].high < 0


def test_p_is_that_of_all_exchanges() -> None:
    """Few images: the share of all 2^n exchanges can be counted."""
    a = pairs(np.array([0, 3, 9, 0, 5, 2]), np.array([1, 0, 0, 7, 2, 6]), np.arange(6))
    b = pairs(np.array([0, 0, 2, 1, 0, 0]), np.array([0, 0, 4, 0, 0, 0]), np.arange(6))
    figures = ("aR@1", "rsum", "sMedr", "aMeanr")
    observed = compare_ranks(a, b, 10)
    as_large = dict.fromkeys(figures, 0)
    for swap in itertools.product([False, True], repeat=6):
        first, second = (
            retrieval_metrics(
                np.where(swap, one.annotation.first, other.annotation.first),
                np.where(swap, one.search.first, other.search.first),
            )
            for one, other in ((b, a), (a, b))
        )
        for name in figures:
            difference = abs(second[name] - first[name])
            as_large[name] += difference >= abs(observed[name].difference) - 1e-9
    estimated = compare_ranks(a, b, 4000)
    for name in figures:
        assert estimated[name].p == pytest.approx(as_large[name] / 64, abs=0.03), name


def test_p_is_uniform_where_nothing_differs() -> None:
    values = [
        compare_ranks(random_ranks(2 * seed), random_ranks(2 * seed + 1), 99, seed=seed)["rsum"].p
        for seed in range(60)
    ]
    assert np.mean(np.array(values) <= 0.05) <= 0.15
    assert 0.3 < np.mean(values) < 0.7


def test_only_the_same_queries_compare() -> None:
    with pytest.raises(UserError, match="same queries"):
        compare_ranks(random_ranks(0, 10), random_ranks(0, 11))
    with pytest.raises(UserError, match="at least one resample"):
        compare_ranks(random_ranks(0), random_ranks(1), 0)


def test_ranks_are_written_and_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, captions = random.standard_normal((6, 3)), random.standard_normal((18, 3))
    evaluation = evaluate_embeddings(images, captions, np.arange(18) // 3)
    write_ranks(tmp_path / "dev_ranks.npz", evaluation, "f8k dev")
    for place in (tmp_path, tmp_path / "dev_ranks.npz"):
        found = read_ranks(place, "dev")
        assert found.protocol == "f8k dev"
        assert retrieval_metrics(found.annotation, found.search) == evaluation.metrics
        np.testing.assert_array_equal(found.search.image, np.arange(18) // 3)


def test_files_that_hold_no_ranks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test_ranks\.npz"):
        read_ranks(tmp_path)
    path = tmp_path / "some.npz"
    good = {"annotation_ranks": [0, 1], "search_ranks": [0, 0, 1], "caption_image": [0, 1, 1]}
    for change, words in (
        ({"search_ranks": None}, "holds no search_ranks"),
        ({"search_ranks": [0.5, 0.5, 1]}, "search_ranks in .* is float64"),
        ({"search_ranks": [0, 0]}, "2 search ranks and a caption_image of 3 rows"),
        ({"caption_image": [0, 0, 0]}, "does not map captions onto the 2 images"),
        ({"caption_image": [0, -1, 1]}, "does not map captions"),
    ):
        arrays = {key: np.array(value) for key, value in (good | change).items() if value}
        np.savez(path, **arrays)
        with pytest.raises(UserError, match=words):
            read_ranks(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"no complete \.npz"):
        read_ranks(path)
