"""Everything about a run in one folder, whose path follows from what was asked for."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from vse_exp.errors import Interrupted, UserError
from vse_exp.files import write_json, write_text
from vse_exp.runs.reading import flatten, parse, read_mapping
from vse_exp.runs.surroundings import git, surroundings

LONGEST_NAME = 150

# Keys that change how a run is watched, how fast its data come or where things lie, and not what
# comes out of it: no part of a run's name, and free to differ when it goes on.
WATCHED = (
    "paths", "logger", "progress", "quiet", "resume", "disp_freq", "hydra", "data.root",
    "data.num_workers", "data.in_memory", "data.on_device",
)  # fmt: skip
_WATCHED = re.compile(rf"({'|'.join(map(re.escape, WATCHED))})(?![^./=@])")


def is_watched(key: str) -> bool:
    """Whether a key (or an override) makes no difference to what comes out of a run."""
    return _WATCHED.match(key.lstrip("+~")) is not None


def run_name(overrides: Sequence[str]) -> str:
    """A readable, stable folder name for a list of overrides, without those that change nothing.

    The order of overrides does not matter; a name too long for a file system ends in a hash.
    """
    kept = sorted(
        override.lstrip("+")
        for override in overrides
        if not is_watched(override) and not override.lstrip("+~").startswith("experiment=")
    )
    # characters that neither a shell nor Hydra's grammar treats specially
    name = "+".join(re.sub(r"[^\w.@+-]+", "-", override) for override in kept) or "default"
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:10]
        name = f"{name[: LONGEST_NAME - 11]}-{digest}"
    return name


class RunFolder:
    """The folder of one run: `config.yaml`, `overrides.json`, `about.json`, `git.diff`,
    `metrics.csv`, `train.log`, `checkpoints/`, and at the end `results.json` (or `failed.txt`);
    `dev_ranks.npz` and `test_ranks.npz`, the best model's ranks of each query."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self.config = self.path / "config.yaml"
        self.about = self.path / "about.json"
        self.metrics = self.path / "metrics.csv"
        self.results = self.path / "results.json"
        self.failed = self.path / "failed.txt"

    def prepare(self) -> None:
        """Make the folder. UserError where it cannot be written to."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"Cannot make the run folder {self.path}: {error.strerror} "
                "(paths.run_dir or paths.runs_dir says where it goes)."
            ) from error

    def finished(self) -> dict[str, Any] | None:
        """The results of a run that came to its end, else None. UserError for a broken file."""
        if not self.results.is_file():
            return None
        results = read_mapping(self.results)
        if not all(isinstance(results.get(split), dict) for split in ("dev", "test")):
            raise UserError(f"{self.results} does not hold the results of a run (dev and test).")
        return results

    def overrides(self) -> dict[str, str]:
        """What was asked for on the command line, by key. UserError for a broken file."""
        file = self.path / "overrides.json"
        asked = parse(file, json.loads)
        if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
            raise UserError(f"{file} is no list of overrides.")
        return dict(one.lstrip("+~").split("=", 1) for one in asked if "=" in one)

    def choices(self) -> dict[str, str]:
        """What was chosen of each group of configs, asked for or not, as far as it was recorded.
        UserError for a broken file."""
        recorded = read_mapping(self.about).get("choices", {}) if self.about.is_file() else {}
        if not isinstance(recorded, dict):
            raise UserError(f"{self.about} is broken: its choices are no mapping.")
        return recorded

    def state(self) -> tuple[str, str, dict[str, Any]]:
        """Finished, failed, pruned or unfinished; how far it is or why it failed; its results.

        UserError for a broken file.
        """
        if (results := self.finished()) is not None:
            return "finished", "", results
        steps = [int(row["step"]) for row in self.rows() if (row["step"] or "").isdigit()]
        if self.failed.is_file():
            reason = parse(self.failed, str).strip().rpartition("\n")[2]
            if reason.startswith("pruned "):
                return "pruned", reason, {}
            return "failed", reason if steps else f"before its first update: {reason}", {}
        return "unfinished", f"at update {steps[-1]}" if steps else "before its first update", {}

    def rows(self) -> list[dict[str, str]]:
        """The lines of `metrics.csv`. UserError for a broken file."""
        if not self.metrics.is_file():
            return []
        return list(parse(self.metrics, lambda text: csv.DictReader(io.StringIO(text))))

    def curve(self) -> dict[int, float]:
        """Dev rsum by update. UserError for a broken file."""
        points: dict[int, float] = {}
        for row in self.rows():
            if row.get("val/rsum"):
                try:
                    points[int(row["step"])] = float(row["val/rsum"])
                except (TypeError, ValueError):
                    continue  # cut off by a kill
        return points

    def check(self, cfg: DictConfig) -> None:
        """UserError where what lies here came, or is coming, out of other settings than `cfg`."""
        if not self.config.is_file() or not (self.last.is_file() or self.results.is_file()):
            return
        here = flatten(read_mapping(self.config))
        asked = flatten(yaml.safe_load(_resolved(cfg)))
        different = [
            f"{key}={here[key]} (now {asked[key]})"
            for key in here
            if key in asked and here[key] != asked[key] and not is_watched(key)
        ]
        if different:
            more = " …" if len(different) > 3 else ""
            raise UserError(
                f"{self.path} holds a run with {', '.join(different[:3])}{more}: give another "
                f"paths.run_dir, or resume=never to train anew, or resume={self.last} to go on."
            )

    def record(
        self, cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, str | None]
    ) -> None:
        """Write the resolved config, the overrides, the choice of each group of configs as far as
        they are known, git state and package versions."""
        write_text(self.config, _resolved(cfg))
        write_json(self.path / "overrides.json", list(overrides))
        chosen = {
            group: choice
            for group, choice in choices.items()
            if choice is not None and not group.startswith("hydra/")
        }
        about = {"command": sys.argv, "seed": cfg.seed, "choices": chosen, **surroundings()}
        write_json(self.about, about)
        if diff := git("diff", "HEAD"):
            write_text(self.path / "git.diff", diff)

    @contextmanager
    def hold(self, told: Callable[[Exception], str | None]) -> Iterator[None]:
        """While a training writes here: no other one may, the program's log is appended to
        `train.log`, and an error that ends it is kept in `failed.txt`, in the last line what is
        `told` of it to a user.

        UserError where another process holds this folder.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(f"{self.path} is being trained by another process.") from error
        logger = logging.getLogger("vse_exp")
        logger.setLevel(logging.INFO)
        handler = logging.FileHandler(self.path / "train.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        self.failed.unlink(missing_ok=True)
        for folder in (self.path, self.checkpoints):
            for half in folder.glob(".*.????????.*"):  # of `atomic_path`, left by a kill
                half.unlink()
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            trace = "" if isinstance(error, UserError) else traceback.format_exc().strip()
            write_text(self.failed, "\n".join(filter(None, [trace, told(error)])))
            raise
        finally:
            logger.removeHandler(handler)
            handler.close()
            lock.release()


def _resolved(cfg: DictConfig) -> str:
    return OmegaConf.to_yaml(cfg, resolve=True)
