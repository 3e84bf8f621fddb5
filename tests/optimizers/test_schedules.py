"""Learning rates by update."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from vse_exp.errors import UserError
from vse_exp.optimizers import cosine, step_down


def rates(schedule, total: int, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = schedule(optimizer, total, **options)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_step_down():
    assert rates(step_down, 4) == pytest.approx([1, 1, 0.1, 0.1])
    assert rates(step_down, 4, at=0.75, factor=0.5) == pytest.approx([1, 1, 1, 0.5])


def test_cosine_with_warmup():
    found = rates(cosine, 12, warmup=1 / 3)
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert found[8] == pytest.approx(0.5)  # half way down
    assert 0 < found[-1] < 0.05
    assert all(a > b for a, b in pairwise(found[4:]))


def test_cosine_without_warmup():
    assert rates(cosine, 4, warmup=0) == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])


def test_mistakes_are_told():
    with pytest.raises(UserError, match=r"scheduler.at is 15: a share"):
        rates(step_down, 4, at=15)
    with pytest.raises(UserError, match=r"scheduler.warmup is -1"):
        rates(cosine, 4, warmup=-1)
