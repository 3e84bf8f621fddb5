"""Reading finished and unfinished run folders."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vse_exp.errors import UserError
from vse_exp.lightning.run_folder import flatten


@dataclass(frozen=True)
class Run:
    """One run: where it lies, its config flattened to dotted keys, what was asked for on the
    command line, its results where finished.

    `status`: finished, failed (with `reason`) or unfinished.
    """

    path: Path
    config: dict[str, Any]
    overrides: dict[str, str]
    results: dict[str, Any] | None
    status: str
    reason: str = ""

    def setting(self, key: str) -> Any:
        """The value of a config key, or of a config group that was chosen (`data`, `loss`)."""
        return self.config.get(key, self.overrides.get(key))

    def value(self, metric: str) -> float | None:
        """A figure of the results by dotted name, e.g. `dev.rsum`, `test.aR@1`, `seconds`."""
        found: Any = self.results
        for key in metric.split(".", 1) if metric.startswith(("dev.", "test.")) else [metric]:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, (int, float)) else None

    def curve(self, metric: str = "val/rsum") -> tuple[list[int], list[float]]:
        """Updates and values of one column of `metrics.csv`."""
        file = self.path / "metrics.csv"
        if not file.is_file():
            return [], []
        with open(file, newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.DictReader(lines) if row.get(metric)]
        return [int(row["step"]) for row in rows], [float(row[metric]) for row in rows]


def collect_runs(folders: Iterable[str | Path]) -> list[Run]:
    """All runs in or below the given folders, in order of their paths.

    UserError where a folder is missing or none holds a run.
    """
    found: dict[Path, None] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UserError(f"No folder {folder}: give run folders, or folders that hold them.")
        for config in sorted(folder.rglob("config.yaml")):
            if (config.parent / "overrides.json").is_file():
                found[config.parent] = None
    if not found:
        raise UserError("No run in these folders: a run holds a config.yaml and overrides.json.")
    return [_read(path) for path in found]


def _read(path: Path) -> Run:
    config: Any = flatten(OmegaConf.to_container(OmegaConf.load(path / "config.yaml")))  # type: ignore[arg-type]
    asked = json.loads((path / "overrides.json").read_text())
    overrides = dict(override.lstrip("+~").split("=", 1) for override in asked if "=" in override)
    results, failed = path / "results.json", path / "failed.txt"
    if results.is_file():
        return Run(path, config, overrides, json.loads(results.read_text()), "finished")
    if failed.is_file():
        return Run(path, config, overrides, None, "failed", failed.read_text().strip())
    return Run(path, config, overrides, None, "unfinished")


def select(runs: Sequence[Run], filters: Sequence[str]) -> list[Run]:
    """The runs whose config agrees with every `key=value`. UserError for a key no run has."""
    for one in filters:
        key, found, wanted = one.partition("=")
        if not found or all(run.setting(key) is None for run in runs):
            raise UserError(f"filter {one!r}: no run has the config key {key!r} (write key=value).")
        runs = [run for run in runs if str(run.setting(key)) == wanted]
    return list(runs)
