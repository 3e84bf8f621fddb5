"""Many jobs in one command: a failing one does not end the others, and is listed at the end."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from vse_exp.cli import show_log, user_message
from vse_exp.errors import Interrupted, UserError
from vse_exp.files import write_text
from vse_exp.runs.folder import RunFolder

log = logging.getLogger(__name__)


def run_job(cfg: DictConfig, job: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Run one training. In a multirun a failure is kept in the run folder, and None returned.

    Raises UserError where a multirun asks for processes that would start the whole sweep again.
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return job()
    if str(cfg.trainer.get("strategy", "auto")).startswith("ddp") and cfg.trainer.strategy not in (
        "ddp_spawn",
        "ddp_fork",
        "ddp_notebook",
    ):
        raise UserError(
            "trainer=ddp starts processes that would each run the whole sweep: in a multirun use "
            "trainer.strategy=ddp_spawn, or one command a run."
        )
    torch.set_num_threads(threads_a_job())
    failed = RunFolder(cfg.paths.run_dir).failed
    failed.unlink(missing_ok=True)
    try:
        return job()
    except Interrupted:  # the whole sweep stops; the same command goes on with it
        raise
    except Exception as error:
        reason = user_message(error) or traceback.format_exc()
        log.error("%s failed: %s", cfg.paths.run_dir, reason.strip().splitlines()[-1])
        if not failed.is_file():  # it failed before the training had begun
            write_text(failed, reason)
        return None


def threads_a_job() -> int:
    """Torch threads of a job, where a launcher runs several at once on one machine."""
    at_once = HydraConfig.get().launcher.get("n_jobs") or 1
    cores = os.cpu_count() or 1
    at_once = cores if at_once < 0 else at_once
    return max(1, min(torch.get_num_threads(), cores // at_once))


class ReportFailures(Callback):
    """At the end of a multirun, lists the jobs that failed with their reasons, and ends with exit
    status 1 if there are any."""

    def __init__(self) -> None:
        self.started = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.started = time.time()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        found = [
            path
            for path in sorted(Path(config.hydra.sweep.dir).rglob("failed.txt"))
            if path.stat().st_mtime >= self.started
        ]
        if not found:
            return
        show_log()
        for path in found:
            log.error("%s failed: %s", path.parent, path.read_text().strip().rpartition("\n")[2])
        print(f"error: {len(found)} of the jobs failed.", file=sys.stderr)
        sys.exit(1)
