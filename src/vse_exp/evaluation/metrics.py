"""The figures of retrieval: a metric is one class, a value a query and what is made of them.

One of your own needs a `name` and `values`; intervals, paired tests, tables and files follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from vse_exp.evaluation.answers import Answers


class Metric:
    """One figure of one direction: the mean, or the median, of a value a query."""

    name: str
    """As it stands in results, after `a` (annotation) or `s` (search)."""
    percent: ClassVar[bool] = True
    median: ClassVar[bool] = False
    """Of the values; as the original has it, the whole number below."""
    every_answer: ClassVar[bool] = False
    """Whether the ranks of all right answers are needed, not those of the best alone."""

    def values(self, answers: Answers) -> np.ndarray:
        """A value of each query, (n_queries,)."""
        raise NotImplementedError

    def __call__(self, answers: Answers | Tensor | np.ndarray) -> float:
        """The figure, of answers or of the 0-based rank of each query's best right answer."""
        values = self.values(as_answers(answers))
        return float(self.summary(np.median(values) if self.median else values.mean()))

    def summary(self, average: np.ndarray | np.floating) -> np.ndarray | np.floating:
        """The figure from the mean or median of the values."""
        return np.floor(average) if self.median else average * (100.0 if self.percent else 1.0)


class Recall(Metric):
    """Queries with a right answer among the first `k`: the field's recall at K."""

    def __init__(self, k: int) -> None:
        self.k, self.name = k, f"R@{k}"

    def values(self, answers: Answers) -> np.ndarray:
        return answers.first < self.k


class MedianRank(Metric):
    """1-based, `floor(median) + 1` of the 0-based ranks as in the original's evaluation.py."""

    name = "Medr"
    percent = False
    median = True

    def values(self, answers: Answers) -> np.ndarray:
        return answers.first + 1


class MeanRank(Metric):
    """1-based mean rank of the best right answer (VSE++'s evaluation.py)."""

    name = "Meanr"
    percent = False

    def values(self, answers: Answers) -> np.ndarray:
        return answers.first + 1


class MRR(Metric):
    """Mean reciprocal rank of the best right answer (Voorhees 1999)."""

    name = "MRR"

    def values(self, answers: Answers) -> np.ndarray:
        return 1 / (answers.first + 1)


class RecallOfAll(Metric):
    """The share of a query's right answers among the first `k`: recall as information retrieval
    and CxC have it."""

    every_answer = True

    def __init__(self, k: int) -> None:
        self.k, self.name = k, f"R_all@{k}"

    def values(self, answers: Answers) -> np.ndarray:
        return answers.sums(answers.rank < self.k) / answers.number


class CorrectedRecall(Metric):
    """Recall at K of the data set's own pairs, where what is judged right above them does not count
    against them."""

    every_answer = True

    def __init__(self, k: int) -> None:
        self.k, self.name = k, f"R_corrected@{k}"

    def values(self, answers: Answers) -> np.ndarray:
        return answers.sums(answers.paired & (answers.wrong < self.k)) > 0


class Precision(Metric):
    """The share of right answers among the first `k`."""

    every_answer = True

    def __init__(self, k: int) -> None:
        self.k, self.name = k, f"P@{k}"

    def values(self, answers: Answers) -> np.ndarray:
        return answers.sums(answers.rank < self.k) / self.k


class RPrecision(Metric):
    """Precision at R, the number of the query's right answers."""

    name = "R-Precision"
    every_answer = True

    def values(self, answers: Answers) -> np.ndarray:
        return answers.sums(answers.rank < answers.number[answers.query]) / answers.number


class MeanAveragePrecision(Metric):
    """The mean of the precisions at each right answer; `at_r`: those among the first R alone, the
    others 0 (Musgrave et al. 2020, eq. 3)."""

    every_answer = True

    def __init__(self, at_r: bool = False) -> None:
        self.at_r, self.name = at_r, "mAP@R" if at_r else "mAP"

    def values(self, answers: Answers) -> np.ndarray:
        precision = (answers.place + 1) / (answers.rank + 1)
        if self.at_r:
            precision *= answers.rank < answers.number[answers.query]
        return answers.sums(precision) / answers.number


class NDCG(Metric):
    """Normalised discounted cumulative gain of the first `k`, gains as the grades are (Järvelin and
    Kekäläinen 2002; trec_eval's `ndcg_cut`)."""

    every_answer = True

    def __init__(self, k: int) -> None:
        self.k, self.name = k, f"nDCG@{k}"

    def values(self, answers: Answers) -> np.ndarray:
        found = answers.grade / np.log2(answers.rank + 2) * (answers.rank < self.k)
        best_first = answers.grade[np.lexsort((-answers.grade, answers.query))]
        ideal = best_first / np.log2(answers.place + 2) * (answers.place < self.k)
        return answers.sums(found) / answers.sums(ideal)


RECALLS = (1, 5, 10)
STANDARD: tuple[Metric, ...] = (*(Recall(k) for k in RECALLS), MedianRank(), MeanRank())
"""What the field reports, and what decides which model is best."""
EVERY: tuple[Metric, ...] = (
    *STANDARD,
    MRR(),
    RPrecision(),
    MeanAveragePrecision(),
    MeanAveragePrecision(at_r=True),
    *(kind(k) for kind in (NDCG, Precision, RecallOfAll, CorrectedRecall) for k in RECALLS),
)


def as_answers(ranks: Answers | Tensor | np.ndarray) -> Answers:
    """Answers as they are, or of the 0-based rank of each query's best right answer."""
    return ranks if isinstance(ranks, Answers) else Answers.of_first(ranks)


def retrieval_metrics(
    annotation: Answers | Tensor | np.ndarray,
    search: Answers | Tensor | np.ndarray,
    metrics: Sequence[Metric] = STANDARD,
) -> dict[str, float]:
    """Each metric of annotation (`aR@1` …) and of search (`sR@1` …), and `rsum`, the six recalls at
    1, 5 and 10 added up, where they are among them."""
    both = (("a", as_answers(annotation)), ("s", as_answers(search)))
    figures = {
        f"{letter}{metric.name}": metric(answers) for letter, answers in both for metric in metrics
    }
    return with_rsum(figures)


def with_rsum(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures with the sum of the six recalls at 1, 5 and 10, where all of them are there."""
    recalls = [f"{letter}R@{k}" for letter in "as" for k in RECALLS]
    if not figures.keys() >= set(recalls):
        return figures
    return figures | {"rsum": sum(figures[name] for name in recalls)}
