"""Reading finished and unfinished runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vse_exp.errors import UserError
from vse_exp.runs.folder import flatten
from vse_exp.runs.records import read_records, same_run
from vse_exp.runs.run import Run


def collect_runs(places: Sequence[str | Path]) -> list[Run]:
    """All runs in or below the given folders, in order of their paths, and those of files of
    records. A run that is there twice counts once: its finished folder, else its first record.

    UserError where a place is missing or none holds a run.
    """
    found: dict[Path, None] = {}
    records: list[Run] = []
    for place in map(Path, places):
        if place.is_file():
            records += read_records(place)
            continue
        if not place.is_dir():
            raise UserError(
                f"No folder or file {place}: give run folders, folders that hold them, or files of "
                "summarize --records."
            )
        for config in sorted(place.rglob("config.yaml")):
            if (config.parent / "overrides.json").is_file():
                found[config.parent] = None
    runs = [_read(path) for path in found]
    finished = [run for run in runs if run.status == "finished"]
    for record in records:
        if not any(same_run(record, run) for run in finished):
            finished.append(record)
            runs.append(record)
    if not runs:
        raise UserError(
            f"No run in {', '.join(map(str, places))}: a run's folder holds a config.yaml and "
            "overrides.json."
        )
    return runs


def _read(path: Path) -> Run:
    config: Any = flatten(OmegaConf.to_container(OmegaConf.load(path / "config.yaml")))
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
