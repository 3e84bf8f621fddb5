"""Every file of conf/loss, conf/optimizer and conf/scheduler composes and takes a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from embeddings import random_pairs
from vse_exp.cli import config_dir
from vse_exp.losses import HardestHingeLoss, HingeLoss, QueuedLoss, WeightedSum
from vse_exp.optimizers import build_optimizer


def names(group: str) -> list[str]:
    return sorted(path.stem for path in Path(config_dir(), group).glob("*.yaml"))


PARTS = ("optimizer", "scheduler")


def composed(*overrides: str):
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.mark.parametrize("name", names("loss"))
def test_losses(name):
    loss = instantiate(composed(f"loss={name}").loss)
    for seed in range(2):
        images, captions, ids = random_pairs(4, seed=seed, images=3)
        value = loss(images, captions, ids)
        value.backward()
    assert value.isfinite()
    assert images.grad.isfinite().all()


def test_order_brings_the_models_part():
    cfg = composed("loss=order")
    assert (cfg.model.similarity, cfg.model.absolute, cfg.loss.margin) == ("order", True, 0.05)


def test_parts_of_composed_losses_can_be_exchanged():
    queue = instantiate(composed("loss=queue", "loss@loss.loss=hinge", "loss.size=7").loss)
    assert isinstance(queue, QueuedLoss)
    assert isinstance(queue.loss, HingeLoss)
    total = instantiate(composed("loss=sum", "loss@loss.losses.hinge=hardest_hinge").loss)
    assert isinstance(total, WeightedSum)
    assert isinstance(total.losses["hinge"], HardestHingeLoss)


@pytest.mark.parametrize("choice", [f"{g}={name}" for g in PARTS for name in names(g)])
def test_optimizers_and_schedules(choice):
    cfg = composed(choice, "lrate=0.5")
    table = torch.nn.Embedding(5, 3)
    made = build_optimizer(table, instantiate(cfg.optimizer))
    schedule = instantiate(cfg.scheduler)(made, 10)
    assert made.param_groups[0]["initial_lr"] == 0.5
    before = table.weight.detach().clone()
    for _ in range(2):
        made.zero_grad()
        table(torch.tensor([0, 2])).sum().backward()
        made.step()
        schedule.step()
    assert (table.weight != before).any(1)[[0, 2]].all()
