"""Recalls, medians and both directions against the original's and VSE++'s own figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vse_exp import i2t, t2i
from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import MeanRank, MedianRank, Recall, retrieval_metrics

TIE_FREE = ["n1", "n2", "n5", "n20", "n100", "n200"]


@pytest.mark.parametrize("name", TIE_FREE)
@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("tensors", [False, True])
def test_figures_equal_the_original_s(
    golden: Path, name: str, repeated: bool, tensors: bool
) -> None:
    with np.load(golden / "eval" / f"eval_{name}.npz") as file:
        images, captions = file["images"], file["captions"]
        if repeated:
            images = np.repeat(images, 5, axis=0)
        if tensors:
            images, captions = torch.from_numpy(images), torch.from_numpy(captions)
        for function, key in ((i2t, "i2t"), (t2i, "t2i")):
            found = function(images, captions)
            assert found == pytest.approx(file[f"{key}_vsepp"], rel=1e-14)
            assert found[:4] == pytest.approx(file[f"{key}_original"], rel=1e-14)


def test_ties_stay_within_the_original_s_bounds(golden: Path) -> None:
    with np.load(golden / "eval" / "eval_ties_n40.npz") as file:
        for function, key in ((i2t, "i2t"), (t2i, "t2i")):
            found = function(file["images"], file["captions"])
            worst = file[f"ranks_{key}_pessimistic"]
            assert found[:3] == tuple(100 * np.mean(worst < k) for k in (1, 5, 10))
            assert found[3] == np.floor(np.median(worst)) + 1
            assert found[4] == pytest.approx(worst.mean() + 1)


def test_hand_worked_figures() -> None:
    ranks = torch.tensor([0, 4, 5, 12])
    assert [Recall(k)(ranks) for k in (1, 5, 6, 13)] == [25, 50, 75, 100]
    assert MedianRank()(ranks) == 5  # floor(4.5) + 1
    assert MeanRank()(ranks) == 6.25
    metrics = retrieval_metrics(ranks, np.array([0, 0, 1, 20, 20]))
    assert metrics == {
        "aR@1": 25, "aR@5": 50, "aR@10": 75, "aMedr": 5, "aMeanr": 6.25,
        "sR@1": 40, "sR@5": 60, "sR@10": 60, "sMedr": 2, "sMeanr": pytest.approx(9.2),
        "rsum": 310,
    }  # fmt: skip


def test_groups_of_any_equal_size() -> None:
    random = np.random.default_rng(0)
    images = random.standard_normal((6, 4))
    for size in (1, 2, 3, 5):
        captions = random.standard_normal((6 * size, 4))
        mapping = np.repeat(np.arange(6), size)
        for function in (i2t, t2i):
            expected = function(images, captions, mapping)
            assert function(images, captions) == expected
            assert function(np.repeat(images, size, axis=0), captions) == expected


@pytest.mark.parametrize("n", [10, 12])
def test_constant_rows_are_not_one_image(n: int) -> None:
    rows = np.ones((n, 3))
    assert i2t(rows, rows)[0] == 0
    assert t2i(rows, rows)[0] == 0


def test_maps_may_be_unequal() -> None:
    captions = np.array([[1.0, 0], [0, 1], [0.9, 0.1]])
    assert i2t(np.eye(2), captions, [0, 1, 0]) == (100, 100, 100, 1, 1)
    assert t2i(np.eye(2), captions, torch.tensor([0, 1, 1]))[0] == pytest.approx(200 / 3)


def test_unequal_groups_need_a_map() -> None:
    with pytest.raises(UserError, match="7 captions do not divide among 3 images"):
        i2t(np.eye(3), np.ones((7, 3)))
