"""One run as the tables see it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# keys that differ between runs of one configuration
_OF_A_RUN = ("seed", "paths.", "logger.", "resume", "progress", "disp_freq")


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

    @property
    def recipe(self) -> dict[str, str]:
        """What was asked for, without what may differ between runs of one configuration."""
        return {k: value for k, value in self.overrides.items() if not k.startswith(_OF_A_RUN)}

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
