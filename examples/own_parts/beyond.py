"""A metric: how many queries find nothing in time."""

from __future__ import annotations

import numpy as np

from vse_exp.evaluation.answers import Answers
from vse_exp.evaluation.metrics import Metric
from vse_exp.schema import Size


class Beyond(Metric):
    """Queries whose best right answer is not among the first `k`, in percent."""

    def __init__(self, *, k: Size = 10) -> None:
        self.k, self.name = k, f"beyond@{k}"

    def values(self, answers: Answers) -> np.ndarray:
        return answers.first >= self.k
