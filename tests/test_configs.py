"""Every config composes, says its command, and its nodes instantiate."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

import vse_exp.train  # noqa: F401  (registers a resolver)
from conftest import WORDS, write_dataset
from text_model import write_text_model
from vse_exp.cli import config_dir
from vse_exp.models.checkpoint import load_model
from vse_exp.models.config import ModelConfig
from vse_exp.training.fit import train

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
    scheduler = instantiate(cfg.scheduler)
    takes = inspect.signature(scheduler).parameters
    scheduler = scheduler(optimizer, **({"total_steps": 10} if "total_steps" in takes else {}))
    optimizer.step()
    scheduler.step()


@pytest.mark.parametrize("option", options("model"))
def test_models_are_valid(option):
    cfg = composed("train", [f"model={option}", "paths.run_dir=x"])
    ModelConfig.from_dict(OmegaConf.to_container(cfg.model, resolve=True))


def training(group: str, tmp_path: Path, *overrides: str) -> dict[str, Any]:
    write_dataset(tmp_path / "data")
    cfg = composed(
        "train",
        [group, "data=custom", "data.name=tiny", f"paths.data_dir={tmp_path / 'data'}",
         f"paths.run_dir={tmp_path / 'run'}", "data.batch_size=18", "model.dim=8",
         "model.mlp_hidden=8", "max_epochs=1", "valid_freq=2", "progress=false", *overrides],
    )  # fmt: skip
    return train(cfg)


WITH_OTHER_DATA = ("pretrained_text", "scenes_pixels")
TRAINABLE = [one for one in options("experiment") if one not in WITH_OTHER_DATA]


@pytest.mark.parametrize("group", [*(f"experiment={one}" for one in sorted(TRAINABLE)),
                                   *(f"debug={one}" for one in options("debug"))])  # fmt: skip
def test_experiments_and_presets_train(group, tmp_path):
    assert training(group, tmp_path)["dev"]["rsum"] >= 0


@pytest.mark.parametrize("loss", ["infonce_captions", "queue", "sum"])
def test_composed_losses_train(loss, tmp_path):
    assert training(f"loss={loss}", tmp_path)["dev"]["rsum"] >= 0


def test_pretrained_text_trains(tmp_path, monkeypatch):
    """On a text model with the right files and random weights."""
    pytest.importorskip("transformers", reason="needs the extra `text`")
    monkeypatch.setenv("VSE_CACHE_DIR", str(tmp_path / "cache"))
    folder = write_text_model(tmp_path / "text", WORDS)
    results = training("experiment=pretrained_text", tmp_path, f"model.text_model={folder}")
    assert results["dev"]["rsum"] >= 0
    assert load_model(tmp_path / "run" / "checkpoints" / "best.ckpt").config.text_head == "mlp"
