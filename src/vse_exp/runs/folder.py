"""Everything about a run in one folder, whose path follows from what was asked for."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from vse_exp.errors import UserError
from vse_exp.files import write_json, write_text

PACKAGES = ("vse_exp", "torch", "lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy")
LONGEST_NAME = 150

# what changes how a run is watched or where it lies, and not what comes out of it
IGNORED = (
    "paths.run",
    "logger",
    "progress",
    "resume",
    "disp_freq",
    "hydra.",
    "debug.",
)


# the same of resolved keys
WATCHED = ("paths.", "logger.", "progress", "resume", "disp_freq", "data.root")


def run_name(overrides: Sequence[str]) -> str:
    """A readable, stable folder name for a list of overrides, without those that change nothing.

    The order of overrides does not matter; a name too long for a file system ends in a hash.
    """
    kept = sorted(
        override.lstrip("+")
        for override in overrides
        if not override.lstrip("+~").startswith((*IGNORED, "experiment="))
    )
    # characters that neither a shell nor Hydra's grammar treats specially
    name = "+".join(re.sub(r"[^\w.@+-]+", "-", override) for override in kept) or "default"
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:10]
        name = f"{name[: LONGEST_NAME - 11]}-{digest}"
    return name


class RunFolder:
    """The folder of one run: `config.yaml`, `overrides.json`, `about.json`, `git.diff`,
    `metrics.csv`, `train.log`, `checkpoints/`, and at the end `results.json`; `dev_ranks.npz` and
    `test_ranks.npz`, the best model's ranks of each query."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.results = self.path / "results.json"

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
        """The results of a run that came to its end, else None."""
        return json.loads(self.results.read_text()) if self.results.is_file() else None

    def check(self, cfg: DictConfig) -> None:
        """UserError where what lies here came, or is coming, out of other settings than `cfg`."""
        if not self.config.is_file() or not (self.last.is_file() or self.results.is_file()):
            return
        here = flatten(OmegaConf.to_container(OmegaConf.load(self.config)))
        asked = flatten(OmegaConf.to_container(OmegaConf.create(_resolved(cfg))))
        different = [
            f"{key}={here[key]} (now {asked[key]})"
            for key in here
            if key in asked and here[key] != asked[key] and not key.startswith(WATCHED)
        ]
        if different:
            more = " …" if len(different) > 3 else ""
            raise UserError(
                f"{self.path} holds a run with {', '.join(different[:3])}{more}: give another "
                f"paths.run_dir, or resume=never to train anew, or resume={self.last} to go on."
            )

    def record(self, cfg: DictConfig, overrides: Sequence[str]) -> None:
        """Write the resolved config, the overrides, git state and package versions."""
        write_text(self.config, _resolved(cfg))
        write_json(self.path / "overrides.json", list(overrides))
        write_json(
            self.path / "about.json",
            {
                "command": sys.argv,
                "seed": cfg.seed,
                "git_commit": _git("rev-parse", "HEAD"),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "packages": {name: _version(name) for name in PACKAGES},
            },
        )
        diff = _git("diff", "HEAD")
        if diff:
            write_text(self.path / "git.diff", diff)

    def log_to_file(self) -> logging.Handler:
        """Add a handler that appends the program's log to `train.log`; the caller removes it."""
        handler = logging.FileHandler(self.path / "train.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("vse_exp")
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        return handler


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _resolved(cfg: DictConfig) -> str:
    return OmegaConf.to_yaml(cfg, resolve=True)


def peak_memory() -> dict[str, int]:
    """The largest memory of this process so far, in MB: resident, and of a GPU where one is."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"peak_memory_mb": round(peak / (1e6 if sys.platform == "darwin" else 1e3))}
    if torch.cuda.is_available():
        found["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return found


def _git(*arguments: str) -> str | None:
    """What git says of the source tree of this package; None outside a checkout."""
    source = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
