"""A training whose word gradients stay sparse up to the update, beside one with dense ones."""

from __future__ import annotations

import pytest
import torch

from conftest import configuration
from vse_exp.lightning import module
from vse_exp.lightning.training import train
from vse_exp.models.checkpoint import load_model


class _Nothing:
    """No part of a model is one."""


@pytest.mark.parametrize("optimizer", ["adamw", "original_adam", "sgd"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_weights_are_the_same(optimizer, accumulated, tiny, tmp_path, monkeypatch):
    weights = []
    for kind in ("sparse", "dense"):
        if kind == "dense":
            monkeypatch.setattr(module, "WordEmbedding", _Nothing)
        options = [
            f"optimizer={optimizer}",
            "max_epochs=2",
            "grad_clip=0.1",
            "decay_c=0" if accumulated == 1 else "decay_c=0.01",
        ]
        train(
            configuration(
                tiny,
                tmp_path / kind,
                *options,
                f"trainer.accumulate_grad_batches={accumulated}",
            )
        )
        weights.append(load_model(tmp_path / kind / "checkpoints" / "best.ckpt").state_dict())
    for name, one in weights[0].items():
        torch.testing.assert_close(one, weights[1][name], rtol=1e-5, atol=1e-7)
