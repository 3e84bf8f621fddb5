"""An Optuna study by command, and the same command again."""

from __future__ import annotations

import pytest

from test_cli import SHORT, call

optuna = pytest.importorskip("optuna")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_goes_on_from_its_storage(tiny, tmp_path, monkeypatch, capfd):
    from vse_exp.sweep import main

    quoted = ",".join(f'"{one}"' for one in [*SHORT, f"paths.data_dir={tiny}", "loss=hinge"])
    arguments = [f"train=[{quoted}]", "study=s", f"runs_dir={tmp_path / 'runs'}"]
    assert call(monkeypatch, main, *arguments, "n_trials=2") == 0
    assert call(monkeypatch, main, *arguments, "n_trials=4") == 0
    assert "going on with study s after 2 trials" in capfd.readouterr().err
    study = optuna.load_study(
        study_name="s", storage=f"sqlite:///{tmp_path / 'runs' / 'sweeps' / 's.db'}"
    )
    drawn = [trial.params["lrate"] for trial in study.trials]
    assert len(drawn) == len(set(drawn)) == 4
    assert len(list((tmp_path / "runs").rglob("results.json"))) == 4
    assert study.best_value == max(trial.value for trial in study.trials)
