"""Many jobs in one command: a failing one does not end the others, and all stand in one table."""

from __future__ import annotations

import atexit
import logging
import math
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vse_exp.alive import redraws
from vse_exp.cli import show_log, user_message
from vse_exp.errors import Interrupted, SweepError
from vse_exp.files import write_json, write_text
from vse_exp.runs.board import Board, label_lines, mute_terminal, short_overrides
from vse_exp.runs.folder import RunFolder
from vse_exp.runs.reading import read_mapping

log = logging.getLogger(__name__)

SWEEP = "VSE_EXP_SWEEP"
"""The environment variable by which jobs know the folder where their sweep looks for them."""


def run_job(cfg: DictConfig, job: Callable[[], object]) -> object:
    """Run one training of a multirun. A failure, of a wrong key too, is kept in the run folder, and
    NaN returned, as searches know one."""
    import torch  # Hydra makes the table below before anything else

    torch.set_num_threads(threads_a_job(torch.get_num_threads()))
    folder = RunFolder(str(cfg.paths.run_dir))
    folder.failed.unlink(missing_ok=True)
    _announce(folder)
    if cfg.progress == "auto":
        cfg.progress = False  # the table is in its place
    try:
        return job()
    except (Interrupted, SweepError):  # the whole sweep stops
        raise
    except Exception as error:
        reason = user_message(error) or traceback.format_exc()
        log.error("failed: %s", reason.strip().rpartition("\n")[2])
        if not folder.failed.is_file():  # it failed before the training had begun
            write_text(folder.failed, reason)
        return math.nan
    finally:
        label_lines("")


def _announce(folder: RunFolder) -> None:
    """Put this job on the table of its sweep, and its name before what it logs."""
    chosen = HydraConfig.get()
    sweep = Path(os.environ.get(SWEEP, folder.path))
    keys = read_mapping(sweep / "keys.json")["keys"] if (sweep / "keys.json").is_file() else []
    swept = [one for one in chosen.overrides.task if one.partition("=")[0] in keys]
    label = short_overrides(swept) or folder.path.name
    label_lines(label)
    if SWEEP in os.environ:
        write_json(sweep / f"{chosen.job.num:06}.json", {"label": label, "path": str(folder.path)})
        if redraws(sys.stderr):
            mute_terminal()


def threads_a_job(threads: int) -> int:
    """Torch threads of a job, of so many, where a launcher runs several at once on one machine."""
    at_once = HydraConfig.get().launcher.get("n_jobs") or 1
    cores = os.cpu_count() or 1
    at_once = cores if at_once < 0 else at_once
    return max(1, min(threads, cores // at_once))


class SweepTable(Callback):
    """Shows the jobs of a multirun as a table, and in the end those that failed with their reasons,
    with exit status 1 if there are any."""

    def __getstate__(self) -> dict[str, Any]:
        """Launchers send this to other processes, which have no table."""
        return {}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        runs = Path(config.hydra.sweep.dir)
        runs.mkdir(parents=True, exist_ok=True)
        # among the runs, since jobs may be on other machines
        self.folder = Path(tempfile.mkdtemp(prefix=".sweep-", dir=runs))
        asked = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
        keys = [one.key_or_group for one in asked if one.is_sweep_override()]
        params = config.hydra.sweeper.get("params") or {}
        write_json(self.folder / "keys.json", {"keys": [*keys, *params]})
        os.environ[SWEEP] = str(self.folder)
        show_log()
        self.board = Board(self.jobs, shown=not config.quiet)
        self.board.__enter__()
        atexit.register(self.end)  # Hydra does not tell of a multirun that was stopped

    def jobs(self) -> dict[str, Path]:
        """The run folder of each job that has begun, by what tells it from the others."""
        found = (read_mapping(file) for file in sorted(self.folder.glob("[0-9]*.json")))
        return {job["label"]: Path(job["path"]) for job in found}

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        failed = {
            label: folder.failed.read_text().strip().rpartition("\n")[2]
            for label, folder in ((one, RunFolder(path)) for one, path in self.jobs().items())
            if folder.failed.is_file()
        }
        self.end()
        show_log()  # each job's set-up by Hydra disables what logs
        for label, reason in failed.items():
            log.error("[%s] failed: %s", label, reason)
        if failed:
            print(f"error: {len(failed)} of the jobs failed.", file=sys.stderr)
            sys.exit(1)

    def end(self) -> None:
        """Take the table from the terminal, or leave it there."""
        if os.environ.pop(SWEEP, None):
            atexit.unregister(self.end)
            self.board.__exit__(None, None, None)
            shutil.rmtree(self.folder, ignore_errors=True)
