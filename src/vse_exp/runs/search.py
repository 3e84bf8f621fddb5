"""An Optuna study over trainings: resumable, prunable, shared by several workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from vse_exp.errors import UserError
from vse_exp.lightning.run_folder import run_name
from vse_exp.lightning.training import train

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 20
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def open_study(name: str, storage: str, seed: int, prune_after: int | None) -> optuna.Study:
    """Open or make a study that maximises dev rsum (TPE).

    The trial of a worker that was killed is noticed by its missing heartbeat, and run again.
    """
    pruner = (
        optuna.pruners.NopPruner()
        if prune_after is None
        else optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=prune_after)
    )
    study = optuna.create_study(
        study_name=name,
        storage=RDBStorage(
            storage,
            heartbeat_interval=HEARTBEAT_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        ),
        pruner=pruner,
        direction="maximize",
        load_if_exists=True,
    )
    # a sampler that starts anew with the same seed would draw the first trials once more
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def suggest(trial: optuna.Trial, key: str, spec: Mapping[str, Any]) -> Any:
    """A value for one key: `{choices: […]}`, or `{low, high[, log][, step]}`, whole or not.

    Raises UserError for any other specification.
    """
    if set(spec) == {"choices"}:
        return trial.suggest_categorical(key, list(spec["choices"]))
    if {"low", "high"} <= set(spec) <= {"low", "high", "log", "step"}:
        options: dict[str, Any] = {name: spec[name] for name in ("log", "step") if name in spec}
        low, high = spec["low"], spec["high"]
        if isinstance(low, int) and isinstance(high, int):
            return trial.suggest_int(key, low, high, **options)
        return trial.suggest_float(key, float(low), float(high), **options)
    raise UserError(f"space.{key}: write {{choices: […]}} or {{low: …, high: …[, log: true]}}.")


def run_study(
    study: optuna.Study,
    space: Mapping[str, Mapping[str, Any]],
    n_trials: int,
    folder: Path,
    compose: Callable[[list[str]], DictConfig],
) -> None:
    """Run trials until the study has `n_trials` that ended; failed ones are logged and left."""
    study.set_metric_names(["dev rsum"])

    def objective(trial: optuna.Trial) -> float:
        values = {key: suggest(trial, key, spec) for key, spec in space.items()}
        overrides = [f"{key}={value}" for key, value in values.items()]
        cfg = compose([*overrides, f"paths.run_dir='{folder / run_name(overrides)}'"])
        validations = 0

        def report(step: int, rsum: float) -> None:
            nonlocal validations
            validations += 1
            trial.report(rsum, validations)
            if trial.should_prune():
                raise optuna.TrialPruned

        rsum = train(cfg, overrides, report)["dev"]["rsum"]
        log.info("trial %d: rsum %.1f with %s", trial.number, rsum, " ".join(overrides))
        return rsum

    ended = len(study.get_trials(states=ENDED))
    if ended:
        log.info("going on with study %s after %d trials", study.study_name, ended)
    limit = optuna.study.MaxTrialsCallback(n_trials, states=ENDED)
    if ended < n_trials:
        study.optimize(objective, callbacks=[limit], catch=(UserError,))
    failed = study.get_trials(states=(TrialState.FAIL,))
    if failed:
        log.info("%d trials failed or were cut off", len(failed))
    if study.get_trials(states=(TrialState.COMPLETE,)):
        best = study.best_trial
        log.info("best: trial %d, rsum %.1f, %s", best.number, study.best_value, best.params)
