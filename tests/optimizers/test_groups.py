"""Parameter groups by name and kind."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from vse_exp.errors import UserError
from vse_exp.losses import InfoNCELoss
from vse_exp.optimizers import OriginalAdam, build_optimizer


def model() -> nn.Module:
    backbone = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    encoder = nn.ModuleDict({"backbone": backbone, "embedding": nn.Embedding(4, 2)})
    return nn.ModuleDict({"encoder": encoder, "image": nn.Linear(2, 2), "loss": InfoNCELoss()})


def settings_by_name(module: nn.Module, optimizer: torch.optim.Optimizer, key: str):
    names = {parameter: name for name, parameter in module.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert names[parameter] not in found
            found[names[parameter]] = group[key]
    return found


def test_all_trained_parameters_once_and_no_others():
    module = model()
    module["image"].bias.requires_grad_(False)
    optimizer = build_optimizer(module, partial(SGD, lr=0.1))
    names = set(settings_by_name(module, optimizer, "lr"))
    assert names == {name for name, _ in module.named_parameters()} - {"image.bias"}
    assert len(optimizer.param_groups) == 1


def test_learning_rates_by_part():
    module = model()
    scales = {"encoder.backbone": 0.1, "encoder": 0.5, "backbone.1": 0.0}
    optimizer = build_optimizer(module, partial(OriginalAdam, lr=2.0), scales)
    rates = settings_by_name(module, optimizer, "lr")
    assert rates["encoder.backbone.0.weight"] == pytest.approx(0.2)
    assert rates["encoder.embedding.weight"] == pytest.approx(1.0)
    assert rates["image.weight"] == rates["loss.scale.log_scale"] == 2.0
    assert rates["encoder.backbone.1.bias"] == pytest.approx(0.2)  # the longest name counts


def test_a_name_fits_whole_parts_only():
    with pytest.raises(UserError, match=r"lr_scales names back, .*encoder.backbone"):
        build_optimizer(model(), partial(SGD, lr=1.0), {"back": 0.1})


def test_weight_decay_of_weights_only():
    module = model()
    factory = partial(AdamW, lr=1.0, weight_decay=0.3)
    optimizer = build_optimizer(module, factory, decay_weights_only=True)
    decays = settings_by_name(module, optimizer, "weight_decay")
    decayed = {name for name, decay in decays.items() if decay}
    assert decayed == {"encoder.backbone.0.weight", "image.weight"}
    everywhere = build_optimizer(module, factory)
    assert set(settings_by_name(module, everywhere, "weight_decay").values()) == {0.3}
