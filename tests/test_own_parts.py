"""Parts from a folder beside the checkout: trained, resumed, swept, evaluated, indexed."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Runs a command in a copy of the examples; its exit status and what it said."""
    shutil.copytree(EXAMPLES, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    monkeypatch.syspath_prepend(tmp_path / "own")
    monkeypatch.setenv("VSE_CACHE_DIR", str(tmp_path / "cache"))

    def call(verb: str, *arguments: str) -> tuple[int, str]:
        words = [*data(verb, tiny), *arguments]
        monkeypatch.setattr(sys, "argv", [f"vse_exp.{verb}", *words])
        status = 0
        try:
            import_module(f"vse_exp.{verb}").main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capfd.readouterr()
        return status, said.out + said.err

    yield call
    for name in [one for one in sys.modules if one.partition(".")[0] == "own_parts"]:
        del sys.modules[name]


def data(verb: str, tiny: Path) -> list[str]:
    keys = ["data=custom", "data.name=tiny", f"paths.data_dir={tiny}"]
    if verb == "train":
        keys += ["--config-dir", "conf", "data.batch_size=6", "model.dim=8", "progress=false"]
    return keys


def in_one_file(folder: Path, path: Path) -> None:
    """The data set `tiny` as the example's layout reads it."""
    splits = {}
    for split in ("train", "dev", "test"):
        captions = (folder / f"tiny_{split}_caps.txt").read_text().splitlines()
        rows = np.load(folder / f"tiny_{split}_ims.npy").tolist()
        splits[split] = [[captions[3 * i : 3 * i + 3], row] for i, row in enumerate(rows)]
    path.write_text(json.dumps(splits))


def test_from_training_to_a_gallery(run, tmp_path: Path, tiny: Path) -> None:
    training = ["experiment=own", "paths.run_dir=run", "valid_freq=2"]
    status, said = run("train", *training, "max_epochs=1")
    assert status == 0
    assert "evaluate checkpoint=run/checkpoints/best.ckpt 'trust=[own_parts]'" in said
    folder = tmp_path / "own" / "run"
    trained = json.loads((folder / "results.json").read_text())
    assert set(trained) >= {"dev", "test"}
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    best = max(line["val/rsum"] for line in lines if "val/rsum" in line)
    assert best == pytest.approx(trained["dev"]["rsum"])
    checkpoint = "checkpoint=run/checkpoints/best.ckpt"

    status, said = run("evaluate", checkpoint, "split=test")
    assert status == 1
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert "trust=[own_parts]" in said
    trusted = [checkpoint, "trust=[own_parts]"]
    assert run("evaluate", *trusted, "split=test", "output=test.json")[0] == 0
    evaluated = json.loads((tmp_path / "own" / "test.json").read_text())
    assert evaluated["rsum"] == pytest.approx(trained["test"]["rsum"])
    in_one_file(tiny / "tiny", tmp_path / "own" / "mine.json")
    own = ["--config-dir", "conf", "data=one_file", "data.layout.path=mine.json", "split=test"]
    metric = "metrics=[{_target_: own_parts.beyond.Beyond, k: 5}]"
    status, said = run("evaluate", *trusted, *own, metric, "output=mine.json.json")
    assert status == 0, said
    again = json.loads((tmp_path / "own" / "mine.json.json").read_text())
    assert again["rsum"] == pytest.approx(evaluated["rsum"])
    assert again["sbeyond@5"] == pytest.approx(100 - again["sR@5"])
    assert run("index", *trusted, "split=test", "output=gallery")[0] == 0
    status, said = run("retrieve", *trusted, "gallery=gallery", "query=a dog runs", "k=2")
    assert status == 0, said


INTERRUPT = """
import os, pathlib, signal
from lightning.pytorch import Callback

class Interrupt(Callback):
    def on_train_batch_end(self, trainer, *_):
        marker = pathlib.Path("interrupted")
        if trainer.global_step == 5 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGTERM)
"""


def test_an_interrupted_training_goes_on(run, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    (folder / "own_parts" / "interrupt.py").write_text(INTERRUPT)
    keys = ["experiment=own", "valid_freq=2", "max_epochs=2"]
    keys.append("+callbacks.interrupt._target_=own_parts.interrupt.Interrupt")
    assert run("train", *keys, "paths.run_dir=cut")[0] == 75
    assert run("train", *keys, "paths.run_dir=cut")[0] == 0
    assert run("train", *keys, "paths.run_dir=whole")[0] == 0
    cut, whole = (
        json.loads((folder / name / "results.json").read_text()) for name in ("cut", "whole")
    )
    assert [cut[split] for split in ("dev", "test")] == [whole[split] for split in ("dev", "test")]


def test_a_sweep(run, tmp_path: Path) -> None:
    swept = ["-m", "model.encoder=cnn", "model.encoder.dropout=0,0.5", "max_epochs=1"]
    status, said = run("train", *swept, "paths.runs_dir=runs")
    assert status == 0, said
    assert len(list((tmp_path / "own" / "runs").rglob("results.json"))) == 2


def test_keys_of_own_parts_are_checked(run) -> None:
    status, said = run("train", "model.encoder=cnn", "model.encoder.dropout=2")
    assert (status, said.splitlines()[-1][:7]) == (1, "error: ")
    assert "model.encoder.dropout" in said
    status, said = run("train", "model.encoder=cnn", "+model.encoder.width=3")
    assert (status, said.splitlines()[-1][:7]) == (1, "error: ")
    assert "widths" in said
