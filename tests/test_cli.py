"""The commands as a user types them: one sentence for a mistake, exit status 1, no traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vse_exp.errors import Interrupted
from vse_exp.train import main as train_main


def call(monkeypatch, entry, *arguments: str) -> int:
    """Run an entry in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["vse_exp", *arguments])
    try:
        entry()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


SHORT = ["data=custom", "data.name=tiny", "data.batch_size=8", "model.dim=8", "max_epochs=1",
         "valid_freq=4", "progress=false"]  # fmt: skip


@pytest.fixture
def trained(tiny, tmp_path, monkeypatch) -> Path:
    """A run folder of a short training by command."""
    run = tmp_path / "run"
    folders = [f"paths.data_dir={tiny}", f"paths.run_dir={run}"]
    assert call(monkeypatch, train_main, *SHORT, *folders) == 0
    return run


def test_train_then_evaluate(trained, tiny, tmp_path, monkeypatch):
    from vse_exp.evaluate import main as evaluate_main

    expected = json.loads((trained / "results.json").read_text())
    choices = json.loads((trained / "about.json").read_text())["choices"]
    assert (choices["experiment"], choices["data"], choices["loss"]) == (
        "best",
        "custom",
        "infonce_captions",
    )
    best = trained / "checkpoints" / "best.ckpt"
    data = ["data=custom", "data.name=tiny", f"paths.data_dir={tiny}"]
    output, ranks = tmp_path / "out.json", tmp_path / "ranks.npz"
    arguments = [f"checkpoint={best}", *data, f"output={output}", f"ranks={ranks}"]
    assert call(monkeypatch, evaluate_main, *arguments) == 0
    found = json.loads(output.read_text())
    assert found["rsum"] == pytest.approx(expected["test"]["rsum"])
    assert found["protocol"].startswith("tiny test, 12 images x 36 captions, full gallery")
    with np.load(ranks) as saved:
        assert 100 * (saved["search_ranks"] < 5).mean() == pytest.approx(found["sR@5"])
    folds = [f"checkpoint={best}", *data, "protocol=folds", "n_images=4", f"output={output}"]
    assert call(monkeypatch, evaluate_main, *folds) == 0
    assert "mean of 3 folds of 4 images x 12 captions" in json.loads(output.read_text())["protocol"]
    ensemble = [f"checkpoint=[{best},{best}]", *data, f"output={tmp_path / 'out.csv'}"]
    assert call(monkeypatch, evaluate_main, *ensemble) == 0
    assert (tmp_path / "out.csv").read_text().startswith("aR@1,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.encoder=rnn"], "Unknown model.encoder=rnn: There are bow, fused, gru"),
        (["loss=hinge", "loss.margin=1.5"], "loss.margin=1.5 must be at most 1"),
        (["model.encoder=bow", "model.encoder.dim_word=5"], "Unknown key model.encoder.dim_word"),
        (["data.name=elsewhere"], "No train split of data set 'elsewhere'"),
        (["+loss.losses.infonce.foo=1"], "Unknown key loss.losses.infonce.foo: there are temp"),
        (["scheduler=constant", "+scheduler.at=0.5"], "Unknown key scheduler.at: "),
        (["+optimizer.foo=2"], "Unknown key optimizer.foo: "),
        (["+trainer.devises=1"], "Unknown key trainer.devises: did you mean trainer.devices?"),
        (["teachers=[data=f8k, b]"], """quote what holds a =, 'teachers=["data=f8k","b"]'."""),
        (["=3"], "=3 has no key before its =: write key=value."),
        (["+trainer.limit_val_batches=5"], "trainer.limit_val_batches is not for this program"),
        (["trainer.precision=8"], "trainer.precision=8 must be 64"),
        (
            [
                "data.order=uniform",
                "data.unique_images=false",
                "data.captions_together=1",
                "data.bucket_width=4",
            ],
            "data.order=uniform mixes lengths",
        ),
    ],
)
def test_mistakes_in_training(tiny, tmp_path, monkeypatch, capsys, arguments, message):
    folders = [f"paths.data_dir={tiny}", f"paths.run_dir={tmp_path / 'run'}"]
    assert call(monkeypatch, train_main, *SHORT, *folders, *arguments) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "checkpoint=… is required"),
        (["checkpoint=nowhere.ckpt"], "No checkpoint nowhere.ckpt"),
        (["checkpoint={other}"], "was not written by vse_exp"),
        (["checkpoint={noise}"], "is no readable checkpoint"),
        (
            ["checkpoint={best}", "protocol=best"],
            "protocol=best must be 'full', 'folds', 'first_n', ",
        ),
        (["checkpoint={best}", "device=cuda:77"], "device=cuda:77 cannot be used"),
        (
            ["checkpoint={best}", "device=gpu"],
            "device=gpu must be auto, cpu, mps, cuda or cuda:1 ….",
        ),
        (["checkpoint={best}", "split=val"], "No val split of data set 'tiny'"),
        (
            ["checkpoint={best}", "output=x.txt"],
            "output=x.txt must be a file that ends in .json or .csv.",
        ),
    ],
)
def test_mistakes_in_evaluation(trained, tiny, tmp_path, monkeypatch, capsys, arguments, message):
    import torch

    from vse_exp.evaluate import main as evaluate_main

    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    (tmp_path / "noise.ckpt").write_bytes(b"noise" * 100)
    paths = {
        "other": tmp_path / "other.ckpt",
        "noise": tmp_path / "noise.ckpt",
        "best": trained / "checkpoints" / "best.ckpt",
    }
    capsys.readouterr()
    data = ["data=custom", "data.name=tiny", f"paths.data_dir={tiny}"]
    given = [argument.format(**paths) for argument in arguments]
    assert call(monkeypatch, evaluate_main, *data, *given) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_loading_needs_neither_lightning_nor_hydra(trained):
    code = (
        "import sys, vse_exp;"
        f"model = vse_exp.load_model({str(trained / 'checkpoints' / 'best.ckpt')!r});"
        "assert model.encode_sentences(['a dog']).shape == (1, 8);"
        "found = {'lightning', 'hydra', 'omegaconf', 'wandb'} & set(sys.modules);"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_a_sweep_lists_the_job_that_failed_and_goes_on(tiny, tmp_path, monkeypatch, capfd):
    runs = tmp_path / "runs"
    folders = [f"paths.data_dir={tiny}", f"paths.runs_dir={runs}"]
    arguments = ["-m", *SHORT, *folders, "data.captions_per_image=3,7,null"]
    assert call(monkeypatch, train_main, *arguments) == 1
    assert len(list(runs.rglob("results.json"))) == 2
    (failed,) = runs.rglob("failed.txt")
    assert "not 7 captions an image" in failed.read_text()
    told = capfd.readouterr().err
    assert told.endswith("error: 1 of the jobs failed.\n")
    # each line says whose it is, and a table tells all
    assert "[captions_per_image=7] failed: " in told
    assert re.search(r"\[captions_per_image=3\] epoch 1, update \d+: aR", told)
    rows = [line.split()[:2] for line in told.splitlines() if line.startswith(" captions_per")]
    assert rows == [
        ["captions_per_image=3", "finished"], ["captions_per_image=7", "failed"],
        ["captions_per_image=null", "finished"],
    ]  # fmt: skip
    assert not list(runs.glob(".sweep-*"))
    assert call(monkeypatch, train_main, *arguments) == 1
    assert capfd.readouterr().err.count("is finished already") == 2


def test_a_wrong_value_fails_its_job_alone(tiny, tmp_path, monkeypatch, capfd):
    folders = [f"paths.data_dir={tiny}", f"paths.runs_dir={tmp_path / 'runs'}"]
    assert call(monkeypatch, train_main, "-m", *SHORT, *folders, "seed=one,2") == 1
    (failed,) = (tmp_path / "runs").rglob("failed.txt")
    assert "seed=one" in failed.read_text()
    assert len(list((tmp_path / "runs").rglob("results.json"))) == 1
    assert capfd.readouterr().err.endswith("error: 1 of the jobs failed.\n")


def test_a_sweep_refuses_processes_that_would_sweep_again(tiny, tmp_path, monkeypatch, capfd):
    folders = [f"paths.data_dir={tiny}", f"paths.runs_dir={tmp_path / 'runs'}"]
    assert call(monkeypatch, train_main, "-m", *SHORT, *folders, "trainer=ddp", "seed=1,2") == 1
    told = capfd.readouterr().err
    assert told.count("error: trainer=ddp starts processes that would each run") == 1
    assert "Traceback" not in told


def test_an_option_with_a_value_may_stand_before_positions(tmp_path, monkeypatch, capfd):
    from vse_exp.compare import main

    arguments = ["--config-dir", str(tmp_path), "nowhere", "data=scenes", "elsewhere"]
    assert call(monkeypatch, main, *arguments) == 1
    assert capfd.readouterr().err.startswith("error: No checkpoint nowhere")


def test_an_interruption_stops_a_sweep(tiny, tmp_path, monkeypatch, capfd):
    from vse_exp.training import fit as training

    def interrupted(cfg, *_):
        raise Interrupted(f"Interrupted in seed {cfg.seed}")

    monkeypatch.setattr(training, "train", interrupted)
    folders = [f"paths.data_dir={tiny}", f"paths.runs_dir={tmp_path / 'runs'}"]
    assert call(monkeypatch, train_main, "-m", *SHORT, *folders, "seed=1,2") == 75
    assert capfd.readouterr().err == "Interrupted in seed 1\n"
    assert not list(tmp_path.rglob("failed.txt"))


def test_the_list_of_verbs(capsys, monkeypatch):
    from vse_exp.__main__ import main

    monkeypatch.setattr(sys, "argv", ["vse_exp"])
    assert not main()
    assert "evaluate" in capsys.readouterr().out
