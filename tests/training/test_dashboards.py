"""What reaches W&B (offline, read back) and TensorBoard."""

from __future__ import annotations

import json
import struct
import time
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conftest import configuration
from vse_exp.errors import UserError
from vse_exp.training import dashboards
from vse_exp.training.fit import train


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


def test_an_offline_wandb_run(tiny, tmp_path):
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
    assert keys >= {
        "train/loss", "train/lr", "train/grad_norm", "train/captions_per_second", "train/epoch",
        "val/aR@1", "val/sR@10", "val/aMedr", "val/sMedr", "val/rsum",
        "answers/annotation", "answers/search", "ranks/annotation", "ranks/search",
    }  # fmt: skip
    (artifact,) = [one for one in records["artifact"] if one.type == "model"]
    assert "best" in list(artifact.aliases)
    table = next((tmp_path / "run" / "wandb").glob("offline-run-*/**/annotation*.table.json"))
    rows = json.loads(table.read_text())["data"]
    assert any("✓" in str(row) or "✗" in str(row) for row in rows)


def test_tensorboard_gets_the_same_scalars(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(configuration(tiny, tmp_path / "run", "logger=tensorboard", "max_epochs=1"))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"val/rsum", "val/aR@1", "test/rsum"} <= set(events.Tags()["scalars"])
    assert {"ranks/a", "ranks/s"} <= set(events.Tags()["histograms"])


def test_an_unknown_mode(tiny, tmp_path):
    cfg = configuration(tiny, tmp_path / "run", "logger=wandb", "logger.wandb.mode=of",
                        "logger.wandb.name=x")  # fmt: skip
    with pytest.raises(UserError, match=r"logger.wandb.mode=of: choose one of online, offline"):
        train(cfg)


def test_answers_are_ranked_by_the_similarity_of_the_model():
    """Order violations worked by hand, where an inner product would put the other image first."""
    images = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    captions = torch.tensor([[1.0, 1.0], [2.0, 0.0]])
    split: Any = SimpleNamespace(captions=["one", "two"], caption_image=np.array([1, 0]))
    (first, second) = dashboards.search_rows(images, captions, split, "order")
    assert first == ["one", (1, "✓ -0.00"), (0, "✗ -1.00")]
    assert second == ["two", (0, "✓ -0.00"), (1, "✗ -1.00")]
    (first, second) = dashboards.annotation_rows(images, captions, split, "order")
    assert first == [0, "✓ two (-0.00)", "✗ one (-1.00)"]
    assert second == [1, "✓ one (-0.00)", "✗ two (-1.00)"]
