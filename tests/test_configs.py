"""Every config composes, says its command, and its nodes instantiate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

import vse_exp.train  # noqa: F401  (registers a resolver)
from conftest import write_dataset
from vse_exp.cli import config_dir
from vse_exp.lightning.training import train
from vse_exp.models.config import ModelConfig

CONF = config_dir()
ENTRIES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "entry")
GROUPS = ["data", "loss", "optimizer", "scheduler", "trainer", "logger", "callbacks", "model"]


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "base")


def composed(name: str, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, overrides)


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_compose(entry):
    assert len(composed(entry, [])) > 0


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda p: p.stem)
def test_each_file_opens_with_what_it_is_for(path: Path):
    lines = [line for line in path.read_text().splitlines() if "@package" not in line]
    assert lines[0].startswith("# ")


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
def test_options_of_train_compose_and_resolve(group, option):
    cfg = composed("train", [f"{group}={option}", "paths.run_dir=x", "data.name=d"])
    OmegaConf.to_container(cfg, resolve=True)


@pytest.mark.parametrize("option", options("loss"))
def test_losses_instantiate(option):
    loss = instantiate(composed("train", [f"loss={option}", "paths.run_dir=x"]).loss)
    assert isinstance(loss, nn.Module)


@pytest.mark.parametrize("option", options("optimizer"))
@pytest.mark.parametrize("schedule", options("scheduler"))
def test_optimizers_and_schedulers_instantiate(option, schedule):
    cfg = composed("train", [f"optimizer={option}", f"scheduler={schedule}", "paths.run_dir=x"])
    optimizer = instantiate(cfg.optimizer)([{"params": list(nn.Linear(2, 2).parameters())}])
    scheduler = instantiate(cfg.scheduler)(optimizer, 10)
    optimizer.step()
    scheduler.step()


@pytest.mark.parametrize("option", options("model"))
def test_models_are_valid(option):
    cfg = composed("train", [f"model={option}", "paths.run_dir=x"])
    ModelConfig.from_dict(OmegaConf.to_container(cfg.model, resolve=True))


TRAINABLE = [one for one in options("experiment") if one != "pretrained_text"]


@pytest.mark.parametrize("group", [*(f"experiment={one}" for one in TRAINABLE),
                                   *(f"debug={one}" for one in options("debug"))])  # fmt: skip
def test_experiments_and_presets_train(group, tmp_path):
    write_dataset(tmp_path / "data")
    cfg = composed(
        "train",
        [group, "data=custom", "data.name=tiny", f"paths.data_dir={tmp_path / 'data'}",
         f"paths.run_dir={tmp_path / 'run'}", "data.batch_size=8", "model.dim=8", "max_epochs=1",
         "valid_freq=2", "progress=false"],
    )  # fmt: skip
    assert train(cfg)["dev"]["rsum"] >= 0
