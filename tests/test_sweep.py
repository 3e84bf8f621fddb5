"""An Optuna study by command, and the same command again."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from test_cli import SHORT, call
from vse_exp.errors import Interrupted, UserError

optuna = pytest.importorskip("optuna")
from vse_exp.runs.search import open_study  # noqa: E402


def study_arguments(tiny: Path, tmp_path: Path) -> list[str]:
    quoted = ",".join(f'"{one}"' for one in [*SHORT, f"paths.data_dir={tiny}"])
    return [f"train=[{quoted}]", "study=s", f"runs_dir={tmp_path / 'runs'}"]


def load(tmp_path: Path) -> Any:
    """The study as it stands, all of it read."""
    address = f"sqlite:///{tmp_path / 'runs' / 'sweeps' / 's.db'}"
    with open_study("s", address, None) as study:
        kept = optuna.create_study(direction="maximize")
        kept.add_trials(study.get_trials())
        return kept


def test_a_study_goes_on_from_its_storage(tiny, tmp_path, monkeypatch, capfd):
    from vse_exp.sweep import main

    arguments = study_arguments(tiny, tmp_path)
    assert call(monkeypatch, main, *arguments, "n_trials=2") == 0
    assert call(monkeypatch, main, *arguments, "n_trials=4") == 0
    assert "going on with study s after 2 trials" in capfd.readouterr().err
    study = load(tmp_path)
    drawn = [trial.params["lrate"] for trial in study.trials]
    assert len(drawn) == len(set(drawn)) == 4
    assert len(list((tmp_path / "runs").rglob("results.json"))) == 4
    assert study.best_value == max(trial.value for trial in study.trials)


def test_failed_and_interrupted_trials(tiny, tmp_path, monkeypatch, capfd):
    """One fails and is told; one is interrupted, and the same command runs its values again."""
    from vse_exp.sweep import main
    from vse_exp.training import fit

    train, calls = fit.train, []

    def faulty(cfg: Any, *arguments: Any) -> Any:
        calls.append(cfg.lrate)
        if len(calls) == 1:
            torch.empty(4_000_000_000_000)
        if len(calls) == 2:
            raise Interrupted("saved")
        return train(cfg, *arguments)

    monkeypatch.setattr(fit, "train", faulty)
    arguments = [*study_arguments(tiny, tmp_path), "n_trials=2"]
    assert call(monkeypatch, main, *arguments) == 75
    assert call(monkeypatch, main, *arguments) == 1
    told = capfd.readouterr().err
    reason = (
        "There is not enough memory for 14901.2 GiB at once: "
        "take smaller batches, or a smaller model."
    )
    assert f"failed: {reason}" in told
    assert told.endswith(f"error: 1 of 2 trials failed: {reason}\n")
    assert calls[1] == calls[2]
    assert [trial.state.name for trial in load(tmp_path).trials] == [
        "FAIL", "FAIL", "COMPLETE",
    ]  # fmt: skip


def test_a_study_without_hope_ends(tiny, tmp_path, monkeypatch, capfd):
    """Failures count, and three of them are enough where nothing else has come of it."""
    from vse_exp.sweep import main
    from vse_exp.training import fit

    monkeypatch.setattr(fit, "train", lambda *_: (_ for _ in ()).throw(UserError("No data.")))
    arguments = study_arguments(tiny, tmp_path)
    assert call(monkeypatch, main, *arguments, "n_trials=1") == 1
    assert capfd.readouterr().err.endswith("error: 1 of 1 trials failed: No data.\n")
    assert call(monkeypatch, main, *arguments, "n_trials=50") == 1
    assert capfd.readouterr().err.endswith("error: 3 of 3 trials failed: No data.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (['train=["data=nope"]'], "Unknown data=nope: There are coco, custom"),
        (['train=["lrate=1"]'], "lrate is in the space and in train: take it out of one."),
        (['train=["loss=infonce"]'], "loss.margin"),
        (["storage=sqlite:////nowhere/s.db"], "storage=sqlite:////nowhere/s.db: "),
        (["storage=nonsense"], "storage=nonsense: "),
        (["+space.loss.margin={from: 1}"], "space.loss"),
        (["+space.loss.margin={low: 0.1, high: 1, log: no}"], "space.loss"),
    ],
)
def test_mistakes_are_told_before_any_trial(tmp_path, monkeypatch, capfd, arguments, message):
    from vse_exp.sweep import main

    assert call(monkeypatch, main, f"runs_dir={tmp_path}", "n_trials=1", *arguments) == 1
    told = capfd.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not list(tmp_path.rglob("config.yaml"))


def test_the_best_values_are_told_as_a_command(tiny, tmp_path, monkeypatch, capfd):
    """Which repeats the trial: the values drawn are as short as those told."""
    from vse_exp.sweep import main
    from vse_exp.train import main as train_main

    assert call(monkeypatch, main, *study_arguments(tiny, tmp_path), "n_trials=1") == 0
    told = capfd.readouterr().err.splitlines()
    command = shlex.split([line for line in told if "vse_exp.train" in line][-1])
    assert command[:3] == ["python", "-m", "vse_exp.train"]
    again = [*command[3:], f"paths.run_dir={tmp_path / 'again'}"]
    assert call(monkeypatch, train_main, *again) == 0
    (first,) = (tmp_path / "runs").rglob("results.json")
    found = json.loads((tmp_path / "again" / "results.json").read_text())
    assert found["dev"]["rsum"] == json.loads(first.read_text())["dev"]["rsum"]


def test_a_journal_file_is_a_storage(tiny, tmp_path, monkeypatch):
    from vse_exp.sweep import main

    storage = f"journal:{tmp_path / 'study.log'}"
    arguments = [*study_arguments(tiny, tmp_path), f"storage={storage}"]
    assert call(monkeypatch, main, *arguments, "n_trials=1") == 0
    assert call(monkeypatch, main, *arguments, "n_trials=2") == 0
    with open_study("s", storage, None) as study:
        assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]


def test_a_pruned_trial_is_marked(tiny, tmp_path, monkeypatch):
    from vse_exp.sweep import main

    monkeypatch.setattr(optuna.Trial, "should_prune", lambda trial: trial.number == 1)
    assert call(monkeypatch, main, *study_arguments(tiny, tmp_path), "n_trials=2") == 0
    assert [trial.state.name for trial in load(tmp_path).trials] == ["COMPLETE", "PRUNED"]
    # numbers of validations, also those that an update more or less comes before
    assert list(load(tmp_path).trials[0].intermediate_values) == [1, 2]
    (failed,) = (tmp_path / "runs").rglob("failed.txt")
    assert failed.read_text() == "pruned by study s"
    assert os.listdir(failed.parent / "checkpoints")
