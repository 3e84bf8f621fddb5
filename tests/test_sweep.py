"""An Optuna study by command, and the same command again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from test_cli import SHORT, call
from vse_exp.errors import Interrupted

optuna = pytest.importorskip("optuna")


def study_arguments(tiny: Path, tmp_path: Path) -> list[str]:
    quoted = ",".join(f'"{one}"' for one in [*SHORT, f"paths.data_dir={tiny}", "loss=hinge"])
    return [f"train=[{quoted}]", "study=s", f"runs_dir={tmp_path / 'runs'}"]


def load(tmp_path: Path) -> Any:
    file = tmp_path / "runs" / "sweeps" / "s.db"
    return optuna.load_study(study_name="s", storage=f"sqlite:///{file}")


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
    from vse_exp.runs import search
    from vse_exp.sweep import main

    train, calls = search.train, []

    def faulty(cfg: Any, *arguments: Any) -> Any:
        calls.append(cfg.lrate)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        if len(calls) == 2:
            raise Interrupted("saved")
        return train(cfg, *arguments)

    monkeypatch.setattr(search, "train", faulty)
    arguments = [*study_arguments(tiny, tmp_path), "n_trials=2"]
    assert call(monkeypatch, main, *arguments) == 75
    assert call(monkeypatch, main, *arguments) == 0
    assert "trial 0 failed: RuntimeError: out of memory" in capfd.readouterr().err
    assert calls[1] == calls[2]
    assert [trial.state.name for trial in load(tmp_path).trials] == [
        "FAIL", "FAIL", "COMPLETE", "COMPLETE",
    ]  # fmt: skip
    (failed,) = (tmp_path / "runs").rglob("failed.txt")
    assert failed.read_text() == "RuntimeError: out of memory"


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
