"""Graded right answers: ranks against full matrices, metrics against torchmetrics and loops."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_normalized_dcg,
    retrieval_precision,
    retrieval_r_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Answers, Ranks, Relevance
from vse_exp.evaluation.metrics import (
    MRR,
    NDCG,
    CorrectedRecall,
    MeanAveragePrecision,
    MeanRank,
    MedianRank,
    Metric,
    Precision,
    Recall,
    RecallOfAll,
    RPrecision,
    retrieval_metrics,
)
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.rank_files import read_ranks, write_ranks
from vse_exp.evaluation.ranks import rank_answers
from vse_exp.evaluation.rerank import CSLS, Bank, QueryBank
from vse_exp.evaluation.statistics import bootstrap_intervals, compare_ranks

KS = (1, 3, 10)
ALL: list[Metric] = [
    MedianRank(), MeanRank(), MRR(), RPrecision(), MeanAveragePrecision(),
    MeanAveragePrecision(at_r=True),
    *(kind(k) for kind in (Recall, RecallOfAll, Precision, NDCG, CorrectedRecall) for k in KS),
]  # fmt: skip


def naive_answers(scores: np.ndarray, grades: np.ndarray) -> list[list[tuple[int, float, int]]]:
    """For each row the (wrong items above, grade, column) of its right answers, worst case of ties:
    a wrong item before a right one, a lesser grade before a better."""
    found = []
    for row, grade in zip(scores, grades, strict=True):
        right = [(-row[item], grade[item], int(item)) for item in np.flatnonzero(grade > 0)]
        wrong = row[grade == 0]
        found.append([(int((wrong >= -s).sum()), g, i) for s, g, i in sorted(right)])
    return found


def relevance_of(grades: np.ndarray, own: np.ndarray) -> Relevance:
    query, item = (torch.from_numpy(part) for part in np.nonzero(grades))
    grade = torch.from_numpy(grades[grades > 0].astype(np.float64))
    return Relevance.of(query, item, grade, torch.from_numpy(own[grades > 0]))


@st.composite
def judged_problems(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Rows with many equal scores, a pair for each caption, and grades that differ by direction."""
    n_images, extra = draw(st.integers(1, 6)), draw(st.integers(0, 8))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mapping = np.concatenate([np.arange(n_images), random.integers(n_images, size=extra)])
    rows = random.integers(-1, 2, size=(n_images + len(mapping), draw(st.integers(1, 4))))
    own = np.zeros((n_images, len(mapping)), bool)
    own[mapping, np.arange(len(mapping))] = True
    judged = [np.where(own, 3, random.integers(-4, 3, own.shape).clip(0)) for _ in range(2)]
    return rows[:n_images], rows[n_images:], mapping, own, judged[0], judged[1]


@given(judged_problems(), st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_every_right_answer_has_its_rank(problem: tuple, rows: int, columns: int) -> None:
    images, captions, mapping, own, for_images, for_captions = problem
    relevance = relevance_of(for_images, own), relevance_of(for_captions.T, own.T)
    images, captions = images.astype(np.float32), captions.astype(np.float32)
    scores = images @ captions.T
    options = {"relevance": relevance, "block": (rows, columns)}
    every = rank_answers(images, captions, mapping, every=True, **options)
    first = rank_answers(images, captions, mapping, **options)
    for found, best, matrix, grades, pairs in (
        (every[0], first[0], scores, for_images, own),
        (every[1], first[1], scores.T, for_captions.T, own.T),
    ):
        expected = naive_answers(matrix, grades)
        assert found.wrong.tolist() == [wrong for row in expected for wrong, _, _ in row]
        assert found.grade.tolist() == [grade for row in expected for _, grade, _ in row]
        assert found.number.tolist() == [len(row) for row in expected]
        assert best.first.tolist() == [row[0][0] for row in expected] == found.first.tolist()
        for answers, row, pair in zip(_by_query(found), expected, pairs, strict=True):
            # of equal scores and grades any may stand first
            assert sorted(answers) == sorted((w, g, bool(pair[i])) for w, g, i in row)
    assert every[1].image.tolist() == mapping.tolist()


def _by_query(answers: Answers) -> list[list[tuple[int, float, bool]]]:
    rows = list(zip(answers.wrong.tolist(), answers.grade, answers.paired.tolist(), strict=True))
    bounds = [*answers.starts, len(rows)]
    return [rows[a:b] for a, b in itertools.pairwise(bounds)]


def ranking(seed: int, n_queries: int = 30, n_items: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Scores without ties, and grades 0 to 3 with a right answer for each query."""
    random = np.random.default_rng(seed)
    grades = random.integers(-6, 4, (n_queries, n_items)).clip(0)
    grades[:, 0] = 2
    # above 0, as torchmetrics takes an item of another score for wrong
    scores = 1 + random.permuted(np.arange(n_items * n_queries))
    return scores.reshape(n_queries, n_items), grades


def answers_of(scores: np.ndarray, grades: np.ndarray) -> Answers:
    found = naive_answers(scores, grades)
    query = np.repeat(np.arange(len(found)), [len(row) for row in found])
    flat = [answer for row in found for answer in row]
    wrong, grade, item = (np.array(part) for part in zip(*flat, strict=True))
    return Answers(wrong, query, np.arange(len(found)), grade, item == 0, every=True)


THEIRS = {
    "MRR": lambda scores, right: retrieval_reciprocal_rank(scores, right > 0),
    "R-Precision": lambda scores, right: retrieval_r_precision(scores, right > 0),
    "mAP": lambda scores, right: retrieval_average_precision(scores, right > 0),
    **{
        f"{name}@{k}": lambda scores, right, kind=kind, k=k: kind(scores, right > 0, top_k=k)
        for k in KS
        for name, kind in (("R_all", retrieval_recall), ("P", retrieval_precision))
    },
    **{
        f"nDCG@{k}": lambda scores, right, k=k: retrieval_normalized_dcg(scores, right, top_k=k)
        for k in KS
    },
}


@pytest.mark.parametrize(
    "metric", [metric for metric in ALL if metric.name in THEIRS], ids=lambda metric: metric.name
)
def test_metrics_equal_those_of_torchmetrics(metric: Metric) -> None:
    scores, grades = ranking(0)
    expected = [
        float(THEIRS[metric.name](torch.from_numpy(row).double(), torch.from_numpy(right)))
        for row, right in zip(scores, grades, strict=True)
    ]
    assert len(set(expected)) > 1
    np.testing.assert_allclose(metric.values(answers_of(scores, grades)), expected, rtol=2e-6)
    assert metric(answers_of(scores, grades)) == pytest.approx(100 * np.mean(expected), rel=1e-6)


def test_metrics_that_torchmetrics_has_not() -> None:
    scores, grades = ranking(1)
    answers = answers_of(scores, grades)
    hits, corrected, map_at_r, medians = [], [], [], []
    for row, right in zip(scores, grades, strict=True):
        order = np.argsort(-row)
        relevant = right[order] > 0
        hits.append([relevant[:k].any() for k in KS])
        # the pair, item 0, among what is wrong and itself
        kept = [item for item in order if item == 0 or right[item] == 0]
        corrected.append([0 in kept[:k] for k in KS])
        n = relevant.sum()
        map_at_r.append(sum(relevant[: i + 1].mean() for i in range(n) if relevant[i]) / n)
        medians.append(np.flatnonzero(relevant)[0] + 1)
    for place, k in enumerate(KS):
        assert Recall(k)(answers) == pytest.approx(100 * np.mean(hits, 0)[place])
        assert CorrectedRecall(k)(answers) == pytest.approx(100 * np.mean(corrected, 0)[place])
    assert MeanAveragePrecision(at_r=True)(answers) == pytest.approx(100 * np.mean(map_at_r))
    assert MedianRank()(answers) == np.floor(np.median(medians))
    assert MeanRank()(answers) == pytest.approx(np.mean(medians))


def test_hand_worked_average_precision() -> None:
    # right answers at 1, 3 and 6 of the ranking
    answers = Answers(
        np.array([0, 1, 3]), np.zeros(3, int), np.zeros(1, int), np.ones(3), np.ones(3, bool), True
    )
    assert answers.rank.tolist() == [0, 2, 5]
    assert MeanAveragePrecision()(answers) == pytest.approx(100 * (1 + 2 / 3 + 3 / 6) / 3)
    assert MeanAveragePrecision(at_r=True)(answers) == pytest.approx(100 * (1 + 2 / 3) / 3)
    assert RPrecision()(answers) == pytest.approx(200 / 3)


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    mapping = np.concatenate([np.arange(12), np.arange(30) ** 2 % 12])
    images = random.standard_normal((12, 6))
    return images, images[mapping] + random.standard_normal((42, 6)), mapping


def test_every_metric_has_intervals_and_paired_tests(problem: tuple, tmp_path: Path) -> None:
    result = evaluate_embeddings(*problem, metrics=ALL)
    assert result.metrics == retrieval_metrics(result.ranks.annotation, result.ranks.search, ALL)
    intervals = bootstrap_intervals(result.ranks, 200, metrics=ALL)
    assert list(intervals) == list(result.metrics)
    for name, (low, high) in intervals.items():
        assert low <= result.metrics[name] <= high, name
    write_ranks(tmp_path / "ranks.npz", result)
    again = read_ranks(tmp_path / "ranks.npz")
    compared = compare_ranks(result.ranks, again, 50, metrics=ALL)
    assert {(one.difference, one.p) for one in compared.values()} == {(0.0, 1.0)}


def test_folds_and_re_ranking_keep_all_answers(problem: tuple) -> None:
    found = evaluate_embeddings(*problem, protocol="folds", n_images=4, metrics=ALL)
    assert found.ranks.annotation.image.tolist() == list(range(12))
    assert found.ranks.annotation.number.sum() == 42
    assert found.metrics["amAP"] == pytest.approx(np.mean([one["amAP"] for one in found.per_fold]))
    pooled = retrieval_metrics(found.ranks.annotation, found.ranks.search, ALL)
    assert pooled["amAP"] == pytest.approx(found.metrics["amAP"])
    images, captions, mapping = (torch.from_numpy(part) for part in problem)
    bank = Bank("train", images.flip(0), captions.flip(0))
    for rerank in (CSLS(k=3), QueryBank(bank)):
        both = rerank.rank(images, captions, mapping, "cosine", every=True)
        first = rerank.rank(images, captions, mapping, "cosine")
        for every, best in zip(both, first, strict=True):
            assert every.first.tolist() == best.first.tolist()
            assert len(every.rank) == 42


def test_a_metric_of_ones_own(problem: tuple) -> None:
    class WorstRank(Metric):
        name = "Worst"
        percent = False
        every_answer = True

        def values(self, answers: Answers) -> np.ndarray:
            return np.maximum.reduceat(answers.rank, answers.starts) + 1

    metrics = [WorstRank()]
    found = evaluate_embeddings(*problem, metrics=metrics)
    scores = problem[0] @ problem[1].T
    worst = [(row >= row[problem[2] == i].min()).sum() for i, row in enumerate(scores)]
    assert found.metrics["aWorst"] == pytest.approx(np.mean(worst))
    low, high = bootstrap_intervals(found.ranks, 50, metrics=metrics)["aWorst"]
    assert low <= found.metrics["aWorst"] <= high


def test_answers_of_a_file_must_fit(problem: tuple, tmp_path: Path) -> None:
    result = evaluate_embeddings(*problem, metrics=[RPrecision()])
    answers = result.ranks.search
    broken = (
        replace(answers, query=answers.query[::-1]),
        replace(answers, wrong=answers.wrong[1:]),
        replace(answers, image=answers.image - 1),
        replace(answers, grade=answers.grade * 0),
    )
    for one in broken:
        changed = replace(result, ranks=Ranks(result.ranks.annotation, answers))
        write_ranks(tmp_path / "ranks.npz", changed)
        with np.load(tmp_path / "ranks.npz") as file:
            arrays = dict(file)
        for part in ("wrong", "query", "image", "grade"):
            arrays[f"search_{part}"] = getattr(one, part)
        np.savez(tmp_path / "ranks.npz", **arrays)
        with pytest.raises(UserError, match="do not fit each other"):
            read_ranks(tmp_path / "ranks.npz")
