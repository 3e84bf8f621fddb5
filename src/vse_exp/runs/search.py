"""An Optuna study over trainings: resumable, prunable, shared by several workers."""

from __future__ import annotations

import logging
import re
import shlex
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from vse_exp.cli import user_message
from vse_exp.errors import Interrupted, UserError
from vse_exp.files import write_text
from vse_exp.runs.board import Board, label_lines, short_overrides
from vse_exp.runs.folder import RunFolder, run_name
from vse_exp.runs.space import Space

log = logging.getLogger(__name__)

Train = Callable[[DictConfig, list[str], Callable[[int, float], None]], dict[str, Any]]
"""Config, overrides, and what is told the update and rsum of each validation; the results."""

HEARTBEAT_SECONDS = 20
HOPELESS = 3
"""A study ends after so many failures where no trial has come to its end."""


@contextmanager
def open_study(name: str, storage: str, prune_after: int | None) -> Iterator[optuna.Study]:
    """Open or make a study that maximises dev rsum, and close its storage in the end.

    `storage`: a database's address, in which the trial of a worker that was killed is noticed by
    its missing heartbeat and run again; or `journal:FILE`. UserError where it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = (
        optuna.pruners.NopPruner()
        if prune_after is None
        else optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=prune_after)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        kept = _storage(storage)
        study = optuna.create_study(
            study_name=name,
            storage=kept,
            pruner=pruner,
            direction="maximize",
            load_if_exists=True,
        )
        study.set_metric_names(["dev rsum"])
        try:
            yield study
        finally:
            if isinstance(kept, RDBStorage):
                kept.remove_session()
                kept.engine.dispose()


def _storage(address: str, retries: int = 4) -> JournalStorage | RDBStorage:
    try:
        if address.startswith("journal:"):
            return JournalStorage(JournalFileBackend(address.removeprefix("journal:")))
        return RDBStorage(
            address,
            heartbeat_interval=HEARTBEAT_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    except Exception as error:  # each database has its own
        # workers that start together make the tables of a new database together
        if retries and re.search("unique|duplicate|already exists", str(error).lower()):
            time.sleep(1)
            return _storage(address, retries - 1)
        raise UserError(f"storage={address}: {str(error).splitlines()[0]}") from error


class _Failed(Exception):
    """A trial's training failed, which does not end the study."""


def run_study(
    study: optuna.Study,
    space: Space,
    n_trials: int,
    folder: Path,
    compose: Callable[[list[str]], DictConfig],
    train: Train,
    seed: int = 0,
) -> None:
    """Run trials (TPE) until the study has `n_trials` that ended, well or not.

    `train` a config that `compose` made of overrides, in a run folder below `folder`.
    Several workers may end with a few trials more. UserError where a trial has failed.
    """
    # a mistake in the command is told before any trial
    compose([*space.train, *space.suggest(space.first)])

    begun: dict[str, Path] = {}

    def objective(trial: optuna.Trial) -> float:
        # by the trial's number, so that neither another worker nor the same command again draws
        # what was drawn before
        study.sampler = optuna.samplers.TPESampler(seed=seed + trial.number, constant_liar=True)
        overrides = space.suggest(trial)
        label = f"{trial.number}: {short_overrides(overrides)}"
        begun[label] = folder / run_name(overrides)
        label_lines(label)
        try:
            rsum = _run_trial(trial, space.train, overrides, folder, compose, train)
        except Interrupted:
            study.enqueue_trial(trial.params)  # goes on with the same run folder
            raise
        except optuna.TrialPruned:
            log.info("pruned")
            raise
        except Exception as error:
            reason = user_message(error) or f"{type(error).__name__}: {error}"
            trial.set_user_attr("reason", reason)
            log.error("failed: %s", reason)
            raise _Failed from error
        finally:
            label_lines("")
        return rsum

    def enough() -> bool:
        well, failed = ended_trials(study)
        return len(well) + len(failed) >= n_trials or (not well and len(failed) >= HOPELESS)

    def stop_in_time(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if enough():
            study.stop()

    if ended := sum(map(len, ended_trials(study))):
        log.info("going on with study %s after %d trials", study.study_name, ended)
    if not enough():
        with Board(lambda: begun):
            study.optimize(objective, callbacks=[stop_in_time], catch=(_Failed,))
    _tell(study, space)


def ended_trials(
    study: optuna.Study,
) -> tuple[list[optuna.trial.FrozenTrial], list[optuna.trial.FrozenTrial]]:
    """Trials that came to their end or were pruned, and those that failed of themselves: one that
    was cut off has no reason, and its values were queued again."""
    well = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return well, [trial for trial in failed if "reason" in trial.user_attrs]


def _tell(study: optuna.Study, space: Space) -> None:
    """The best trial with a command that repeats it. UserError where a trial has failed."""
    well, failed = ended_trials(study)
    if any(trial.state == TrialState.COMPLETE for trial in well):
        best = study.best_trial
        fixed = optuna.trial.FixedTrial(best.params)
        log.info("best: trial %d, rsum %.1f", best.number, study.best_value)
        command = ["python", "-m", "vse_exp.train", *space.train, *space.suggest(fixed)]
        log.info("  %s", shlex.join(command))
    if failed:
        reasons = list(dict.fromkeys(trial.user_attrs["reason"] for trial in failed))
        raise UserError(
            f"{len(failed)} of {len(well) + len(failed)} trials failed: {' | '.join(reasons[:3])}"
        )


def _run_trial(
    trial: optuna.Trial,
    fixed: list[str],
    overrides: list[str],
    folder: Path,
    compose: Callable[[list[str]], DictConfig],
    train: Train,
) -> float:
    """The dev rsum of one training, in a folder of the study named by what was drawn."""
    name = run_name(overrides)
    cfg = compose([*fixed, *overrides, f"paths.run_dir='{folder / name}'"])
    if cfg.progress == "auto":
        cfg.progress = False  # the table of trials is in its place
    if "wandb" in cfg.logger:
        cfg.logger.wandb.update(name=name, group=trial.study.study_name)

    def report(number: int, rsum: float) -> None:
        trial.report(rsum, number)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        return train(cfg, [*fixed, *overrides], report)["dev"]["rsum"]
    except optuna.TrialPruned:
        write_text(RunFolder(folder / name).failed, f"pruned by study {trial.study.study_name}")
        raise
