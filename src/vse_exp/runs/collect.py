"""Runs as one pandas table, a row a run: from their folders, from a CSV that outlives these, and
from what `evaluate` wrote of any model."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vse_exp.errors import UserError
from vse_exp.files import write_text
from vse_exp.runs.folder import RunFolder, is_watched
from vse_exp.runs.reading import flatten, read_mapping


def collect_runs(places: Sequence[str | Path]) -> pd.DataFrame:
    """All runs in or below the given folders, in order of their paths, those of CSV records, and
    the models of `evaluate output=FILE.json`.

    Columns have two levels: `("run", "path" | "status" | "reason" | "asked")`, where status is
    finished, failed, unfinished or broken and `asked` are the keys of the command line;
    `("key", KEY)`, a config key or group as text; `("figure", NAME)`, a number of the results
    (`dev.rsum`, `seconds`); nan where a run has none. A run that is there twice counts once: its
    finished folder, else its first record. UserError where a place is missing or none has a run.
    """
    folders: dict[Path, None] = {}
    records: list[pd.DataFrame] = []
    judged: list[dict[str, dict[str, Any]]] = []
    for place in map(Path, places):
        if place.suffix == ".json" and place.is_file():
            judged.append(_read_figures(place))
        elif place.is_file():
            records.append(_read_records(place))
        elif place.is_dir():
            found = sorted(config.parent for config in place.rglob("config.yaml"))
            folders |= {one: None for one in found if (one / "overrides.json").is_file()}
        else:
            raise UserError(
                f"No folder or file {place}: give run folders, folders that hold them, files of "
                "summarize --records, or of evaluate output=FILE.json."
            )
    runs = _table([*(_read_folder(RunFolder(path)) for path in folders), *judged])
    for new in records:
        fresh = new.loc[~_known(new, runs), :]
        runs = pd.concat([runs, fresh], ignore_index=True)
    if runs.empty:
        raise UserError(
            f"No run in {', '.join(map(str, places))}: a run's folder holds a config.yaml and "
            "overrides.json."
        )
    return runs


def select(runs: pd.DataFrame, filters: Sequence[str]) -> pd.DataFrame:
    """The runs whose config agrees with every `key=value`. UserError for a key no run has."""
    for one in filters:
        key, found, wanted = one.partition("=")
        if not found or not any(settings(runs, key)):
            raise UserError(f"filter {one!r}: no run has the config key {key!r} (write key=value).")
        runs = runs.loc[np.array(settings(runs, key)) == wanted, :]
    return runs


def settings(runs: pd.DataFrame, key: str) -> list[str]:
    """The value of a config key in each run, empty where it has none."""
    if ("key", key) not in runs:
        return [""] * len(runs)
    return ["" if pd.isna(value) else str(value) for value in runs["key", key]]


def figures(runs: pd.DataFrame, metric: str) -> np.ndarray:
    """A figure of the runs that have it."""
    if ("figure", metric) not in runs:
        return np.empty(0)
    found = runs["figure", metric].to_numpy(float)
    return found[~np.isnan(found)]


def status(runs: pd.DataFrame) -> list[str]:
    """finished, failed, unfinished or broken, of each run."""
    return list(runs["run", "status"])


def asked_keys(runs: pd.DataFrame) -> list[str]:
    """The keys that any of the runs was asked for, but the seed, in the order of their coming."""
    return list(dict.fromkeys(key for asked in runs["run", "asked"] for key in asked))


def write_records(
    path: Path, groups: Sequence[pd.DataFrame], keys: Sequence[str], metrics: Sequence[str]
) -> None:
    """One line a finished run: the config keys, those asked for on any command line among them,
    `seed` as the last of them, and then the figures."""
    runs = pd.concat(groups)
    columns = [key for key in dict.fromkeys([*keys, *asked_keys(runs)]) if key != "seed"]
    finished = runs.loc[np.array(status(runs)) == "finished", :]
    named = [*(("key", key) for key in [*columns, "seed"]), *(("figure", one) for one in metrics)]
    table = finished.reindex(pd.MultiIndex.from_tuples(named), axis=1).droplevel(0, axis=1)
    write_text(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def _read_records(path: Path) -> pd.DataFrame:
    """The runs of such a file. UserError for a line that is not one run's, naming it."""
    no_records = f"{path} does not hold runs: write it with summarize --records."
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            columns, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{no_records} ({error})") from error
    if "seed" not in columns or len(set(columns)) < len(columns):
        raise UserError(no_records)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise UserError(
                f"{path}:{number} has {len(row)} cells, and the first line {len(columns)}."
            )
    n_keys = columns.index("seed") + 1
    table = pd.DataFrame(rows, columns=columns)
    keys, texts = table.iloc[:, :n_keys], table.iloc[:, n_keys:]
    numbers = texts.apply(pd.to_numeric, errors="coerce")
    for row, column in np.argwhere((numbers.isna() & (texts != "")).to_numpy()):
        cell = f"{path}:{row + 2}, {columns[n_keys + column]}"
        raise UserError(f"{cell}: {texts.iat[row, column]!r} is not a number.")
    run = pd.DataFrame(
        {
            "path": [Path(f"{path}:{number}") for number in range(2, len(rows) + 2)],
            "status": "finished",
            "reason": "",
            "asked": [_recipe(key for key, cell in zip(columns, row[:n_keys], strict=False) if cell)
                      for row in rows],
        }
    )  # fmt: skip
    return pd.concat({"run": run, "key": keys, "figure": numbers}, axis=1)


def _read_folder(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """What the table tells of a run; what is broken in its folder is the reason."""
    keys: dict[str, str] = {}
    results: dict[str, Any] = {}
    asked: dict[str, str] = {}
    try:
        asked = folder.overrides()
        settings = folder.choices() | asked | flatten(read_mapping(folder.config))
        keys = {key: "" if value is None else str(value) for key, value in settings.items()}
        status, reason, results = folder.state()
    except UserError as error:
        status, reason = "broken", str(error)
    figures = {k: v for k, v in flatten(results).items() if isinstance(v, int | float)}
    run = {"path": folder.path, "status": status, "reason": reason, "asked": _recipe(asked)}
    return {"run": run, "key": keys, "figure": figures}


def _read_figures(path: Path) -> dict[str, dict[str, Any]]:
    """The same of a model that `evaluate` judged on a split."""
    found = read_mapping(path)
    try:
        checkpoint, data, split, protocol = (
            str(found[key]) for key in ("checkpoint", "data", "split", "protocol")
        )
    except KeyError as error:
        raise UserError(
            f"{path} does not say {error}: write it with evaluate … output=FILE.json."
        ) from error
    protocol = protocol.removeprefix(f"{data} {split}, ")
    keys = {"checkpoint": checkpoint, "data.name": data, "protocol": protocol}
    numbers = {f"{split}.{k}": v for k, v in found.items() if isinstance(v, int | float)}
    asked = ("checkpoint", "protocol")
    run = {"path": path, "status": "finished", "reason": "", "asked": asked}
    return {"run": run, "key": keys, "figure": numbers}


def _known(records: pd.DataFrame, runs: pd.DataFrame) -> np.ndarray:
    """Which records are of a configuration and seed that `runs` or an earlier record has finished,
    as far as their keys tell."""
    keys = [str(key) for part, key in records.columns if part == "key"]
    recipes = zip(_cells(runs, keys), status(runs), runs["run", "asked"], strict=True)
    there = [
        cells for cells, ended, asked in recipes if ended == "finished" and set(asked) <= set(keys)
    ]
    cells = pd.Series(_cells(records, keys), dtype=object)
    return (cells.duplicated() | cells.isin(there)).to_numpy()


def _cells(runs: pd.DataFrame, keys: Sequence[str]) -> list[tuple[str, ...]]:
    return list(zip(*(settings(runs, key) for key in keys), strict=True))


def _table(rows: Sequence[dict[str, dict[str, Any]]]) -> pd.DataFrame:
    parts = {part: pd.DataFrame([row[part] for row in rows]) for part in ("run", "key", "figure")}
    parts["run"] = parts["run"].reindex(["path", "status", "reason", "asked"], axis=1)
    return pd.concat(parts, axis=1)


def _recipe(keys: Iterable[str]) -> tuple[str, ...]:
    """Without what may differ between runs of one configuration."""
    return tuple(key for key in keys if key != "seed" and not is_watched(key))
