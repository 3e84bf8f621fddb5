"""The average of weights is torch's own, which asks the device for the number of updates."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vse_exp.training.averaging import ExponentialAverage


def test_it_is_torchs_average_also_behind_a_checkpoint():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    ours = ExponentialAverage(model, 0.9)
    for step in range(6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        model(torch.randn(5, 3))
        theirs.update_parameters(model)
        if step == 3:
            again = ExponentialAverage(model, 0.9)
            again.load_state_dict(ours.state_dict())
            ours = again
        ours.update_parameters(model)
    for (name, expected), found in zip(
        theirs.state_dict().items(), ours.state_dict().values(), strict=True
    ):
        if expected.is_floating_point() or name == "n_averaged":
            assert torch.equal(found, expected), name
    assert not any(parameter.requires_grad for parameter in ours.parameters())
