"""Human judgements and files of relevance: against scipy, loops, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Relevance
from vse_exp.evaluation.correlation import correlation_intervals, correlations
from vse_exp.evaluation.judgements import agreement, read_judgements
from vse_exp.evaluation.metrics import NDCG, CorrectedRecall, Recall, RecallOfAll
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.relevance import Ids, read_relevance

NAMES = ["a.jpg", "b.jpg", "c.jpg"]
MAPPING = np.array([0, 0, 1, 1, 2, 2])
IDS = Ids.of(NAMES, MAPPING)


def scipys(scores: np.ndarray, human: np.ndarray) -> dict[str, float]:
    return {
        "tau_b": 100 * kendalltau(scores, human).statistic,
        "tau_c": 100 * kendalltau(scores, human, variant="c").statistic,
        "spearman": 100 * spearmanr(scores, human).statistic,
    }


@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(2, 8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_correlations_are_scipy_s(seed: int, n: int, levels: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    human = random.integers(levels, size=n).astype(float)
    scores = random.integers(6, size=n) / 7 if ties else random.standard_normal(n) + human / 3
    human[:2], scores[:2] = (0, 1), (0.1, 0.9)
    assert correlations(scores, human) == pytest.approx(scipys(scores, human), abs=1e-9)
    weights = random.integers(4, size=n)
    weights[:2] = 1
    again = np.repeat(scores, weights), np.repeat(human, weights)
    assert correlations(scores, human, weights) == pytest.approx(scipys(*again), abs=1e-9)


def test_intervals_are_of_images_drawn_with_their_pairs() -> None:
    random = np.random.default_rng(0)
    image = np.repeat(np.arange(40), 5)
    human = random.integers(4, size=200)
    scores = human + random.standard_normal(200) * 2 + random.standard_normal(40)[image]
    found = correlation_intervals(scores, human, image, n_resamples=300)
    samples = []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(image == i) for i in random.integers(40, size=40)])
        samples.append(scipys(scores[rows], human[rows])["tau_b"])
    low, high = np.quantile(samples, [0.025, 0.975])
    assert found["tau_b"] == pytest.approx((low, high), abs=2.5)
    for name, value in correlations(scores, human).items():
        assert found[name][0] < value < found[name][1]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_expert_and_crowd_are_told_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path / "expert.txt",
        "a.jpg\tb.jpg#0\t1\t1\t2",
        "a.jpg\ta.jpg#1\t4\t4\t4",
        "c.jpg\ta.jpg#0\t1\t3\t2",
        "b.jpg\tz.jpg#0\t1\t1\t1",
        "b.jpg\tc.jpg#1\t2\t2\t1",
    )
    expert = read_judgements(path, IDS, MAPPING)
    assert (expert.kind, expert.own, expert.outside) == ("expert", 1, 1)
    assert expert.image.tolist() == [0, 2, 1]
    assert expert.caption.tolist() == [2, 0, 5]
    random = np.random.default_rng(1)
    images, captions = random.standard_normal((3, 4)), random.standard_normal((6, 4))
    figures, intervals = agreement(expert, images, captions, n_resamples=20)
    scores = np.repeat(
        [images[0] @ captions[2], images[2] @ captions[0], images[1] @ captions[5]], 3
    )
    expected = scipys(scores, np.array([1, 1, 2, 1, 3, 2, 2, 2, 1]))
    assert figures == pytest.approx({f"expert_{name}": value for name, value in expected.items()})
    assert set(intervals) == set(figures)
    path = write(
        tmp_path / "crowd.txt", "a.jpg\tb.jpg#0\t0.333333333333333\t1\t2", "b.jpg\ta.jpg#1\t1\t3\t0"
    )
    crowd = read_judgements(path, IDS, MAPPING)
    assert crowd.kind == "crowd"
    assert crowd.values[:, 0] == pytest.approx([1 / 3, 1])
    assert "the share of yes" in crowd.describe()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a.jpg b.jpg#0 1 1 1"], "line 1 is no judgement"),
        (["a.jpg\tb.jpg#0\t1\t1\t1", "a.jpg\tb.jpg#0\t0.5\t1\t1"], "line 2 is no judgement"),
        (["a.jpg\tb.jpg#0\t0.5\t1\t2"], "line 1 is no judgement"),
        (["a.jpg\tb.jpg#0\t1\tx\t1"], "line 1 is no judgement"),
        (["a.jpg\tz.jpg#0\t1\t1\t1"], "judges no image and caption of this split"),
    ],
)
def test_what_is_no_judgement(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_judgements(write(tmp_path / "some.txt", *lines), IDS, MAPPING)


QRELS = ["a.jpg 0 b.jpg#0 2", "a.jpg 0 c.jpg#1 0", "b.jpg#0 0 a.jpg 1", "z.jpg 0 a.jpg#0 1"]
TSV = ["query\titem\tgrade", "a.jpg\tb.jpg#0\t2", "a.jpg\tc.jpg#1\t0", "b.jpg#0\ta.jpg\t1"]
JSONL = [
    '{"query": "a.jpg", "item": "b.jpg#0", "grade": 2}',
    '{"query-id": "b.jpg#0", "corpus-id": "a.jpg", "score": 1}',
]


def rows_of(relevance: Relevance) -> set[tuple[int, int, float]]:
    parts = (relevance.query, relevance.item, relevance.grade)
    return set(zip(*(part.tolist() for part in parts), strict=True))


@pytest.mark.parametrize(
    ("name", "lines"), [("some.qrels", QRELS), ("some.tsv", TSV), ("some.jsonl", JSONL)]
)
def test_relevance_of_each_form(tmp_path: Path, name: str, lines: list[str]) -> None:
    annotation, search = read_relevance(write(tmp_path / name, *lines), IDS, MAPPING)
    found = rows_of(annotation)
    own = {(image, caption, 2.0) for caption, image in enumerate(MAPPING.tolist())}
    assert found == own | {(0, 2, 2.0)}
    assert rows_of(search) == {(caption, image, 1.0) for image, caption, _ in own} | {(2, 0, 1.0)}
    assert annotation.paired.sum() == search.paired.sum() == 6


def test_one_direction_serves_both_and_the_crowd_s_majority_is_right(tmp_path: Path) -> None:
    path = write(tmp_path / "some.tsv", "a.jpg\tb.jpg#0")
    annotation, search = read_relevance(path, IDS, MAPPING)
    assert (len(annotation.query), len(search.query)) == (7, 7)
    lines = ["a.jpg\tb.jpg#0\t0.666666666666667\t2\t1", "a.jpg\tb.jpg#1\t0.5\t1\t1"]
    again = read_relevance(write(tmp_path / "crowd.txt", *lines), IDS, MAPPING)
    assert again[0].item.tolist() == annotation.item.tolist()
    assert again[1].item.tolist() == search.item.tolist()


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("some.tsv", "a.jpg b.jpg#0", "line 1 has 1 fields: it needs query, item and grade"),
        ("some.qrels", "a.jpg b.jpg#0 1", "line 1 has 3 fields: it needs query, 0, item"),
        ("some.qrels", "a.jpg 0 b.jpg#0 much", "line 1: 'much' is no grade"),
        ("some.jsonl", '{"query": "a.jpg"}', "line 1 has no query and item"),
        ("some.jsonl", "[1]", "line 1 has no query and item"),
        ("some.jsonl", "{", "line 1 is broken JSON"),
        ("some.qrels", "x 0 y 1", "judges no image and caption of this split"),
    ],
)
def test_what_is_no_relevance(tmp_path: Path, name: str, line: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_relevance(write(tmp_path / name, line), IDS, MAPPING)


def test_recall_with_what_is_judged_right(tmp_path: Path) -> None:
    images = np.eye(3)
    # image 0 finds b's first caption, then a's; b finds c's second, then its own
    captions = np.array([[5, 0, 0], [1, 0, 0], [9, 3, 0], [0, 2, 0], [0, 0, 1], [0, 4, 2.0]])
    path = write(tmp_path / "some.qrels", "a.jpg 0 b.jpg#0 1", "b.jpg#0 0 c.jpg 1")
    relevance = read_relevance(path, IDS, MAPPING)
    metrics = [Recall(1), CorrectedRecall(1), RecallOfAll(2), NDCG(2)]
    plain = evaluate_embeddings(images, captions, MAPPING, metrics=metrics).metrics
    judged = evaluate_embeddings(
        images, captions, MAPPING, metrics=metrics, relevance=relevance
    ).metrics
    assert plain["aR@1"] == pytest.approx(100 / 3)  # c alone
    assert judged["aR@1"] == pytest.approx(200 / 3)  # a's best is judged right
    assert judged["aR_corrected@1"] == pytest.approx(200 / 3)
    assert plain["aR_all@2"] == pytest.approx(100 * (1 / 2 + 1 / 2 + 2 / 2) / 3)
    assert judged["aR_all@2"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 2 / 2) / 3)
    with pytest.raises(UserError, match="Relevance is of the whole split"):
        evaluate_embeddings(
            images, captions, MAPPING, "folds", 1, metrics=metrics, relevance=relevance
        )


def test_images_without_names_have_their_rows() -> None:
    ids = Ids.of(None, np.array([1, 0, 1]))
    assert ids.images == {"0": 0, "1": 1}
    assert ids.captions == {"1#0": 0, "0#0": 1, "1#1": 2}
