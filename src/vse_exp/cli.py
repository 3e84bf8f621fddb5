"""What every entry point shares: where the configs lie, and how mistakes are told."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vse_exp.errors import Interrupted, UserError

INTERRUPTED = 75
"""Exit status of a run that was interrupted after saving: the same command goes on with it."""


def config_dir() -> Path:
    """The folder of Hydra configs: inside an installed package, or beside `src/` in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def user_message(error: BaseException) -> str | None:
    """The one sentence to tell a user about `error`, or None where it is a fault of ours."""
    link: BaseException | None = error
    while link is not None:  # Hydra wraps what a constructor raises
        if isinstance(link, UserError):
            return str(link)
        if isinstance(link, MissingMandatoryValue):
            return f"{link.full_key}=… is required and was not given."
        if isinstance(link, OmegaConfBaseException):
            return " ".join(str(link).split())
        link = link.__cause__
    return None


class _StandardError(logging.Handler):
    """Writes to what standard error is at the time, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def show_log() -> None:
    """The program's own log, from INFO on, plain on standard error."""
    logger = logging.getLogger("vse_exp")
    if not logger.handlers:
        logger.addHandler(_StandardError())
        logger.setLevel(logging.INFO)
        logger.propagate = False
    # Hydra's logging set-up, once a job, disables loggers that exist already
    for name, known in logging.root.manager.loggerDict.items():
        if name.startswith("vse_exp") and isinstance(known, logging.Logger):
            known.disabled = False


def hydra_entry(config_name: str) -> Callable[[Callable[[DictConfig], object]], Callable[[], None]]:
    """Turn `task(cfg)` into a Hydra application over `conf/{config_name}.yaml`.

    A UserError becomes one sentence on standard error and exit status 1; it ends a multirun too,
    unless the task keeps it to itself, as training does.
    """

    def decorate(task: Callable[[DictConfig], object]) -> Callable[[], None]:
        @functools.wraps(task)
        def guarded(cfg: DictConfig) -> object:
            show_log()
            try:
                return task(cfg)
            except Interrupted as interruption:
                print(interruption, file=sys.stderr)
                sys.exit(INTERRUPTED)
            except Exception as error:
                message = user_message(error)
                if message is None:
                    raise
                if os.environ.get("HYDRA_FULL_ERROR") == "1":
                    raise
                print(f"error: {message}", file=sys.stderr)
                sys.exit(1)

        return hydra.main(
            config_path=str(config_dir()), config_name=config_name, version_base="1.3"
        )(guarded)

    return decorate
