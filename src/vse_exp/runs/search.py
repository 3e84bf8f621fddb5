"""An Optuna study over trainings: resumable, prunable, shared by several workers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from vse_exp.cli import user_message
from vse_exp.errors import Interrupted, UserError
from vse_exp.files import write_text
from vse_exp.runs.folder import run_name
from vse_exp.training.fit import train
from vse_exp.training.multirun import FAILED

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 20
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def open_study(name: str, storage: str, prune_after: int | None) -> optuna.Study:
    """Open or make a study that maximises dev rsum.

    The trial of a worker that was killed is noticed by its missing heartbeat, and run again.
    """
    pruner = (
        optuna.pruners.NopPruner()
        if prune_after is None
        else optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=prune_after)
    )
    return optuna.create_study(
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


class _Failed(Exception):
    """A trial's training failed, which does not end the study."""


def run_study(
    study: optuna.Study,
    space: Mapping[str, Mapping[str, Any]],
    n_trials: int,
    folder: Path,
    compose: Callable[[list[str]], DictConfig],
    seed: int = 0,
) -> None:
    """Run trials (TPE) until the study has `n_trials` that ended; failed ones are logged and left.

    Several workers may end with a few trials more. UserError for a wrong space.
    """
    study.set_metric_names(["dev rsum"])

    def objective(trial: optuna.Trial) -> float:
        # by the trial's number, so that neither another worker nor the same command again draws
        # what was drawn before
        study.sampler = optuna.samplers.TPESampler(seed=seed + trial.number, constant_liar=True)
        values = {key: suggest(trial, key, spec) for key, spec in space.items()}
        overrides = [f"{key}={value}" for key, value in values.items()]
        try:
            rsum = _run_trial(trial, overrides, folder, compose)
        except Interrupted:
            study.enqueue_trial(trial.params)  # goes on with the same run folder
            raise
        except optuna.TrialPruned:
            log.info("trial %d: pruned, %s", trial.number, " ".join(overrides))
            raise
        except Exception as error:
            trial.set_user_attr("reason", _reason(error))
            raise _Failed from error
        log.info("trial %d: rsum %.1f with %s", trial.number, rsum, " ".join(overrides))
        return rsum

    ended = len(study.get_trials(states=ENDED))
    if ended:
        log.info("going on with study %s after %d trials", study.study_name, ended)
    limit = optuna.study.MaxTrialsCallback(n_trials, states=ENDED)
    if ended < n_trials:
        study.optimize(objective, callbacks=[limit], catch=(_Failed,))
    for trial in study.get_trials(states=(TrialState.FAIL,)):
        reason = trial.user_attrs.get("reason", "was cut off, and its values run again")
        log.info("trial %d failed: %s", trial.number, reason)
    if study.get_trials(states=(TrialState.COMPLETE,)):
        best = study.best_trial
        log.info("best: trial %d, rsum %.1f, %s", best.number, study.best_value, best.params)


def _run_trial(
    trial: optuna.Trial,
    overrides: list[str],
    folder: Path,
    compose: Callable[[list[str]], DictConfig],
) -> float:
    """The dev rsum of one training; what ended it early is written to its run folder."""
    name = run_name(overrides)
    cfg = compose([*overrides, f"paths.run_dir='{folder / name}'"])
    if "wandb" in cfg.logger:
        cfg.logger.wandb.update(name=name, group=trial.study.study_name)
    failed = folder / name / FAILED
    failed.unlink(missing_ok=True)

    def report(step: int, rsum: float) -> None:
        trial.report(rsum, math.ceil(step / cfg.valid_freq))  # also after going on in its middle
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        return train(cfg, overrides, report)["dev"]["rsum"]
    except optuna.TrialPruned:
        write_text(failed, f"pruned by study {trial.study.study_name}")
        raise
    except Interrupted:
        raise
    except Exception as error:
        write_text(failed, _reason(error))
        raise


def _reason(error: Exception) -> str:
    return user_message(error) or f"{type(error).__name__}: {error}"
