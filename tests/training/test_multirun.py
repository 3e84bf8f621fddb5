"""Jobs of a sweep beside each other on one machine."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from vse_exp.training.multirun import threads_a_job


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [({}, 8), ({"n_jobs": 1}, 8), ({"n_jobs": 2}, 4), ({"n_jobs": 3}, 2), ({"n_jobs": -1}, 1),
     ({"n_jobs": 100}, 1)],
)  # fmt: skip
def test_jobs_share_the_cores(monkeypatch, launcher: dict[str, Any], expected: int):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    chosen = OmegaConf.create({"launcher": launcher})
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: chosen))
    assert threads_a_job(8) == expected
