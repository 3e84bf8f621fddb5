"""A training whose word gradients stay sparse up to the update, beside one with dense ones."""

from __future__ import annotations

import pytest
import torch

from conftest import configuration
from vse_exp.errors import UserError
from vse_exp.training import module
from vse_exp.training.fit import train


class _Nothing:
    """No strategy is one."""


@pytest.mark.parametrize("optimizer", ["adamw", "original_adam", "sgd"])
@pytest.mark.parametrize(("accumulated", "decay"), [(1, 0.0), (2, 0.0), (2, 0.01)])
def test_the_weights_are_the_same(optimizer, accumulated, decay, tiny, tmp_path, monkeypatch):
    weights = {}
    sparse: dict[str, list[bool]] = {"sparse": [], "dense": []}
    clip = module.clip_grad_norm
    for kind in sparse:
        if kind == "dense":
            monkeypatch.setattr(module, "SingleDeviceStrategy", _Nothing)

        def watched(parameters, max_norm, seen=sparse[kind]):
            parameters = list(parameters)
            seen += [p.grad.is_sparse for p in parameters if p.grad is not None]
            return clip(parameters, max_norm)

        monkeypatch.setattr(module, "clip_grad_norm", watched)
        options = [f"optimizer={optimizer}", "max_epochs=2", "grad_clip=0.1", f"decay_c={decay}"]
        options.append(f"trainer.accumulate_grad_batches={accumulated}")
        train(configuration(tiny, tmp_path / kind, *options))
        last = torch.load(tmp_path / kind / "checkpoints" / "last.ckpt", weights_only=True)
        weights[kind] = last["state_dict"]
    assert any(sparse["sparse"]) == (decay == 0)  # the penalty's gradient has all rows
    assert not any(sparse["dense"])
    for name, one in weights["sparse"].items():
        torch.testing.assert_close(one, weights["dense"][name], rtol=1e-5, atol=1e-7)


def test_ddp_of_one_process(tiny, tmp_path):
    """It takes no sparse gradients, and so is given none."""
    options = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "max_epochs=1"]
    assert train(configuration(tiny, tmp_path / "run", *options))["dev"]["rsum"] > 0
    with pytest.raises(UserError, match="lazy_adam is for one process"):
        train(configuration(tiny, tmp_path / "other", *options, "optimizer=lazy_adam"))
