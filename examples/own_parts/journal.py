"""A logger of Lightning's: one line of JSON for each set of figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class Journal(Logger):
    name = version = "journal"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = Path(path)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """The run folder has them in config.yaml."""
