"""Records of how features were made: kept by training, and checked where a model meets others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import run_command
from conftest import configuration, write_dataset
from vse_exp import embed, evaluate, index, report, retrieve
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.training.fit import train

MINE = {"backbone": "resnet50", "weights_sha256": "a" * 64, "unit_norm": True}
OTHER = MINE | {"backbone": "resnet18"}
DATA = ("data=custom", "data.name=tiny", "paths.data_dir=data")


def record(split: str, content: dict[str, Any], root: str = "data") -> None:
    (Path(root) / "tiny" / f"tiny_{split}_features.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model trained on recorded features, and a test split of which others are recorded."""
    monkeypatch.chdir(tmp_path)
    write_dataset(Path("data"))
    for split in ("train", "dev", "test"):
        record(split, MINE)
    train(configuration(Path("data"), Path("run"), "max_epochs=1"))
    record("test", OTHER)
    return tmp_path


def run(command: Any, *arguments: str, capsys: Any, code: int = 0) -> str:
    best = "checkpoint=run/checkpoints/best.ckpt"
    return run_command(command, best, *arguments, capsys=capsys, code=code).err


COMMANDS = [
    (evaluate.main, (*DATA, "hubness=false", "intervals=false"), "data.allow_feature_mismatch"),
    (report.main, (*DATA, "output=report"), "data.allow_feature_mismatch"),
    (index.main, (*DATA, "output=gallery"), "allow_feature_mismatch"),
    (index.main, (*DATA, "output=gallery"), "data.allow_feature_mismatch"),
    (index.main, ("features=data/tiny/tiny_test_ims.npy", "output=g"), "allow_feature_mismatch"),
    (
        embed.main,
        ("features=data/tiny/tiny_test_ims.npy", "output=v.npy"),
        "allow_feature_mismatch",
    ),
    (
        retrieve.main,
        (*DATA, "split=dev", "query=data/tiny/tiny_test_ims.npy", "target=captions"),
        "allow_feature_mismatch",
    ),
]


def test_the_record_is_kept_and_others_are_refused_or_warned_of(folder, capsys):
    assert load_model("run/checkpoints/best.ckpt").provenance == MINE
    for command, arguments, key in COMMANDS:
        told = run(command, *arguments, capsys=capsys, code=1)
        assert "backbone resnet50 and resnet18" in told, command.__module__
        assert "allow_feature_mismatch=true" in told
        replacing = ["overwrite=true"] * (command is index.main)
        told = run(command, *arguments, f"{key}=true", *replacing, capsys=capsys)
        assert "backbone resnet50 and resnet18" in told, command.__module__
    record("test", MINE)
    for command, arguments, _ in COMMANDS[-2:]:
        assert "resnet" not in run(command, *arguments, capsys=capsys)


def test_splits_of_one_training_are_compared(tmp_path):
    root = write_dataset(tmp_path / "data")
    record("train", MINE, str(root))
    record("dev", OTHER, str(root))
    cfg = configuration(root, tmp_path / "run", "max_epochs=1")
    with pytest.raises(UserError, match=r"resnet50 and resnet18.*data\.allow_feature_mismatch"):
        train(cfg)
    cfg.data.allow_feature_mismatch = True
    assert train(cfg)["dev"]["rsum"] > 0


def test_a_record_for_the_whole_folder(tmp_path):
    root = write_dataset(tmp_path / "data")
    (root / "tiny" / "features.json").write_text(json.dumps(MINE))
    train(configuration(root, tmp_path / "run", "max_epochs=1"))
    model = load_model(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert model.provenance == MINE
    assert np.isfinite(model.encode_sentences(["a dog"])).all()
