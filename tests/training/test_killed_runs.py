"""Runs that were killed at random moments end like one that was not."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import configuration, write_dataset
from vse_exp.errors import Interrupted
from vse_exp.training.fit import train

KILLS = 10
OPTIONS = [
    "model.encoder=gru", "model.dim=32", "loss=queue", "loss.size=64", "loss.start_step=20",
    "ema=0.99", "scheduler=cosine", "patience=100", "data.batch_size=16", "max_epochs=6",
    "trainer.accumulate_grad_batches=2", "valid_freq=10", "disp_freq=2",
]  # fmt: skip


def run(data: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    try:
        train(configuration(data, folder, *OPTIONS))
    except Interrupted:
        os._exit(75)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for what is measured by the clock."""
    last, best = (
        torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        for name in ("last", "best")
    )
    for state in last["callbacks"].values():
        state.pop("seconds", None)
    results = json.loads((folder / "results.json").read_text())
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    timed = rows[0].index("train/captions_per_second")
    return {
        "last": [last[key] for key in ("state_dict", "optimizer_states", "lr_schedulers",
                                       "callbacks", "global_step")],
        "best": best["state_dict"],
        "results": [results["dev"], results["test"]],
        "metrics": [row[:timed] + row[timed + 1 :] for row in rows],
        "ranks": (folder / "test_ranks.npz").read_bytes(),
    }  # fmt: skip


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def rows(folder: Path) -> int:
    file = folder / "metrics.csv"
    return len(file.read_text().splitlines()) if file.is_file() else 0


@pytest.mark.slow
def test_ten_killed_runs_equal_the_whole_one_bit_for_bit(tmp_path):
    data = write_dataset(tmp_path / "data", images=80, per_image=5)
    context = multiprocessing.get_context("forkserver")

    def start(folder: Path) -> Any:
        process = context.Process(target=run, args=(data, folder))
        process.start()
        return process

    process = start(tmp_path / "whole")
    process.join()
    expected = outcome(tmp_path / "whole")
    choose = random.Random(0)
    for number in range(KILLS):
        folder = tmp_path / f"killed{number}"
        process = start(folder)
        moment = choose.randrange(2, len(expected["metrics"]) - 2)
        while rows(folder) < moment and process.is_alive():
            time.sleep(0.005)
        time.sleep(choose.uniform(0, 0.1))
        sent = choose.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        os.kill(process.pid, sent)
        process.join()
        assert process.exitcode == (75 if sent == signal.SIGTERM else -signal.SIGKILL)
        print(f"\n{folder.name}: {sent.name} after {rows(folder)} rows of metrics", end="")
        process = start(folder)
        process.join()
        assert process.exitcode == 0
        going_on = re.findall("going on.* at update.*", (folder / "train.log").read_text())
        found = outcome(folder)
        same = {key: equal(found[key], expected[key]) for key in expected}
        print(f", {going_on or 'nothing saved yet'}, equal {same}")
        assert all(same.values()), (folder.name, same)
