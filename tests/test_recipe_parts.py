"""Every file of conf/loss, conf/optimizer and conf/scheduler composes and takes a step."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from conftest import composed as from_files
from embeddings import random_pairs
from vse_exp.cli import config_dir
from vse_exp.losses import HardestHingeLoss, HingeLoss, QueuedLoss, WeightedSum
from vse_exp.optimizers import build_optimizer
from vse_exp.training.building import build_node


def names(group: str) -> list[str]:
    return sorted(path.stem for path in Path(config_dir(), group).glob("*.yaml"))


PARTS = ("optimizer", "scheduler")


def composed(*overrides: str) -> DictConfig:
    return from_files("train", overrides)


@pytest.mark.parametrize("name", names("loss"))
def test_losses(name):
    loss = build_node(composed(f"loss={name}").loss)
    for seed in range(2):
        images, captions, ids = random_pairs(4, seed=seed, images=3)
        if loss.taught:
            loss.learn_from(torch.randn(3, 2), torch.randn(4, 2))
            loss.see(torch.arange(4))
        value = loss(images, captions, ids)
        value.backward()
    assert value.isfinite()
    assert images.grad.isfinite().all()


def test_order_brings_the_models_part():
    cfg = composed("loss=order")
    assert cfg.model.similarity._target_ == "vse_exp.similarity.Order"
    assert (cfg.model.absolute, cfg.loss.margin) == (True, 0.05)


def test_parts_of_composed_losses_can_be_exchanged():
    queue = build_node(composed("loss=queue", "loss@loss.loss=hinge", "loss.size=7").loss)
    assert isinstance(queue, QueuedLoss)
    assert isinstance(queue.loss, HingeLoss)
    total = build_node(composed("loss=sum", "loss@loss.losses.hinge=hardest_hinge").loss)
    assert isinstance(total, WeightedSum)
    assert isinstance(total.losses["hinge"], HardestHingeLoss)


@pytest.mark.parametrize("choice", [f"{g}={name}" for g in PARTS for name in names(g)])
def test_optimizers_and_schedules(choice):
    cfg = composed(choice, "lrate=0.5")
    table = torch.nn.Embedding(5, 3)
    made = build_optimizer(table, build_node(cfg.optimizer))
    factory = build_node(cfg.scheduler)
    takes = inspect.signature(factory).parameters
    schedule = factory(made, **({"total_steps": 10} if "total_steps" in takes else {}))
    assert made.param_groups[0]["initial_lr"] == 0.5
    before = table.weight.detach().clone()
    for _ in range(2):
        made.zero_grad()
        table(torch.tensor([0, 2])).sum().backward()
        made.step()
        schedule.step()
    assert (table.weight != before).any(1)[[0, 2]].all()
