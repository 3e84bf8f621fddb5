"""What reaches W&B (offline, read back) and TensorBoard."""

from __future__ import annotations

import json
import re
import runpy
import struct
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from PIL import Image

from conftest import configuration
from vse_exp.cli import config_dir
from vse_exp.errors import UserError
from vse_exp.training.dashboards import find_answers
from vse_exp.training.fit import train
from vse_exp.training.wandb_dashboard import WandbDashboard

DOCS = Path(__file__).parents[2] / "docs"
LOGGED = {
    "train/loss", "train/lr", "train/grad_norm", "train/captions_per_second", "train/epoch",
    "val/aR@1", "val/aR@5", "val/aR@10", "val/sR@1", "val/sR@5", "val/sR@10",
    "val/aMedr", "val/sMedr", "val/rsum",
    "answers/annotation", "answers/search", "ranks/annotation", "ranks/search",
}  # fmt: skip


def read_offline_run(file: Path) -> dict[str, list[Any]]:
    """Records of a finished run. W&B's own process writes the last of them when it comes to it."""
    for _ in range(600):
        records = read_records(file)
        if "exit" in records:
            return records
        time.sleep(0.1)
    raise AssertionError(f"{file} has not been finished in a minute")


def read_records(file: Path) -> dict[str, list[Any]]:
    """Records of a `.wandb` file by kind: LevelDB's log format, a protobuf a record."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, part = file.read_bytes(), 7, b""
    records: dict[str, list[Any]] = defaultdict(list)
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        part += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            record = Record.FromString(part)
            name = record.WhichOneof("record_type")
            if name:
                records[name].append(getattr(record, name))
            part = b""
    return records


def test_an_offline_wandb_run(tiny, tmp_path, capfd):
    cfg = configuration(
        tiny, tmp_path / "run", "logger=wandb", "logger.wandb.mode=offline",
        "logger.wandb.name=train/tiny", "logger.wandb.tags=[a,b]", "max_epochs=1", "disp_freq=2",
    )  # fmt: skip
    train(cfg)
    (file,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    records = read_offline_run(file)
    run = records["run"][0]
    assert run.run_id == (tmp_path / "run" / "wandb_id").read_text().strip()
    assert (run.run_group, run.job_type, list(run.tags)) == ("train", "train", ["a", "b"])
    keys = {
        item.key or item.nested_key[0] for history in records["history"] for item in history.item
    }
    assert keys >= LOGGED
    artifacts = {one.type: one for one in records["artifact"] if one.type != "run_table"}
    assert "best" in list(artifacts["model"].aliases)
    assert {kind: one.name for kind, one in artifacts.items()} == {
        "model": f"model-{run.run_id}", "code": f"source-{run.run_id}",
    }  # fmt: skip
    assert "WARNING" not in capfd.readouterr().err
    table = next((tmp_path / "run" / "wandb").glob("offline-run-*/**/annotation*.table.json"))
    rows = json.loads(table.read_text())["data"]
    assert any("✓" in str(row) or "✗" in str(row) for row in rows)


def test_tables_of_wandb_hold_the_pictures(tiny, tmp_path):
    """Which its pages read from the table's artifact; the file beside it has names of types."""
    names = [f"{number}.png" for number in range(12)]
    (tmp_path / "pictures").mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (20, 10), (20 * number, 0, 0)).save(tmp_path / "pictures" / name)
    (tiny / "tiny" / "tiny_dev_images.txt").write_text("\n".join(names) + "\n")
    train(
        configuration(
            tiny, tmp_path / "run", "logger=wandb", "logger.wandb.mode=offline",
            "logger.wandb.name=x", "max_epochs=1", f"data.pictures={tmp_path / 'pictures'}",
        )
    )  # fmt: skip
    (file,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    tables = [one for one in read_offline_run(file)["artifact"] if one.type == "run_table"]
    held = {
        table.name.split("-")[2]: sum(one.path.endswith(".png") for one in table.manifest.contents)
        for table in tables
    }
    assert held["answersannotation"] == 12
    assert held["answerssearch"] == 12  # each once


def test_answers_are_ranked_by_the_similarity_of_the_model():
    """Order violations worked by hand, where an inner product would put the other image first."""
    images = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    captions = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    split: Any = SimpleNamespace(captions=["one", "two"], caption_image=np.array([1, 0]))
    answers = find_answers(images, captions, split, "order")
    assert answers.search == {0: [(1, True, 0), (0, False, -1)], 1: [(0, True, 0), (1, False, -1)]}
    assert answers.annotation == {
        0: [(1, True, 0), (0, False, -1)], 1: [(0, True, 0), (1, False, -1)],
    }  # fmt: skip
    assert answers.search[0][1].mark == "✗ -1.00"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_by_its_config_alone(tiny, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    train(configuration(tiny, tmp_path / "run", "logger=mlflow", "max_epochs=1",
                        f"logger.mlflow.tracking_uri={database}", "logger.mlflow.run_name=x",
                        "logger.mlflow.experiment_name=tests", "disp_freq=2"))  # fmt: skip
    client = mlflow.MlflowClient(database)
    (experiment,) = client.search_experiments(filter_string="name = 'tests'")
    (run,) = client.search_runs([experiment.experiment_id])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert run.data.metrics["test/rsum"] == pytest.approx(results["test"]["rsum"])
    assert {"val/aR1", "train/loss"} <= set(run.data.metrics)
    assert run.data.params["max_epochs"] == "1"


def test_tensorboard_gets_the_same_scalars(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(configuration(tiny, tmp_path / "run", "logger=tensorboard", "max_epochs=1"))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"val/rsum", "val/aR@1", "test/rsum"} <= set(events.Tags()["scalars"])
    assert {"ranks/annotation", "ranks/search"} <= set(events.Tags()["histograms"])


def test_an_agent_says_whose_run_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "r7")
    logger = WandbDashboard(str(tmp_path), "offline", entity="me", name="x")
    assert not {"project", "entity", "id", "anonymous"} & set(logger._wandb_init)
    assert (tmp_path / "wandb_id").read_text() == "r7"


def test_what_the_agent_of_a_sweep_types(monkeypatch):
    """The command of docs/wandb_sweep.yaml with values, by W&B's own filling in."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = yaml.safe_load((DOCS / "wandb_sweep.yaml").read_text())
    values = {
        key: {"value": of.get("value", of.get("min", (of.get("values") or [0])[-1]))}
        for key, of in sweep["parameters"].items()
    }
    filled = utils.create_sweep_command_args({"args": values})["args_no_hyphens"]
    command = [*utils.create_sweep_command(sweep["command"])[1:-1], *filled]
    assert command[:4] == ["python", "-m", "vse_exp.train", "logger=wandb"]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", command[3:])
    assert (config.data.name, config.model.image_encoder.dropout) == ("f8k", 0.6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_workspace_shows_what_is_logged():
    pytest.importorskip("wandb_workspaces", reason="pip install wandb-workspaces, of W&B alone")
    workspace = runpy.run_path(str(DOCS / "wandb_workspace.py"))["workspace"]
    said = workspace("me", "vse_exp")._to_model().model_dump_json()
    assert set(re.findall(r'"((?:val|train|answers)/[^"]+)"', said)) <= LOGGED


def test_nobody_is_logged_in(tiny, tmp_path, monkeypatch):
    """One sentence; and W&B's own variable says the mode where no key does."""
    for variable in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    cfg = configuration(tiny, tmp_path / "run", "logger=wandb", "logger.wandb.name=x")
    with pytest.raises(UserError, match=r"wandb login.*logger.wandb.mode=offline"):
        train(cfg)
    monkeypatch.setenv("WANDB_MODE", "offline")
    cfg = configuration(tiny, tmp_path / "run", "logger=wandb", "logger.wandb.name=x")
    assert cfg.logger.wandb.mode == "offline"


def test_an_unknown_mode(tiny, tmp_path):
    cfg = configuration(tiny, tmp_path / "run", "logger=wandb", "logger.wandb.mode=of",
                        "logger.wandb.name=x")  # fmt: skip
    with pytest.raises(UserError, match=r"logger.wandb.mode=of must be 'online', 'offline'"):
        train(cfg)
