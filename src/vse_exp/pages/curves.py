"""Runs beside each other: their learning curves, results and settings on one page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vse_exp.errors import UserError
from vse_exp.files import new_folder
from vse_exp.pages.writing import PAGE, page
from vse_exp.runs.folder import RunFolder, is_watched
from vse_exp.runs.reading import flatten, read_mapping

CHARTS = {
    "val/rsum": "Dev rsum",
    "train/loss": "Loss of a batch",
    "val/aR@1": "Dev R@1, image → captions",
    "val/sR@1": "Dev R@1, caption → images",
    "train/lr": "Learning rate",
    "train/grad_norm": "Norm of the gradient",
    "train/captions_per_second": "Captions a second",
}
"""Columns of metrics.csv that get a chart, and what it is called."""
MOST_POINTS = 300
"""Points of a line; of more, means over as many stretches."""
MOST_RUNS = 8
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 480, 220, 56, 26, 10

Points = list[tuple[float, float]]


def write_curves(output: str | Path, runs: Sequence[str], overwrite: bool = False) -> Path:
    """Write the folder `output` with a page of runs; returns the page.

    UserError for a folder that is no run, and for more than MOST_RUNS.
    """
    folders = [RunFolder(run) for run in runs]
    if len(folders) > MOST_RUNS:
        raise UserError(f"A page holds {MOST_RUNS} runs at most: summarize tells of more.")
    for folder in folders:
        if not folder.config.is_file():
            raise UserError(f"{folder.path} is no run folder: it has no config.yaml.")
    names = _names([folder.path for folder in folders])
    rows = [folder.rows() for folder in folders]
    charts = [
        chart(title, [_points(each, column) for each in rows], names)
        for column, title in CHARTS.items()
        if any(_points(each, column) for each in rows)
    ]
    text = page(
        "curves.html.j2",
        title="Run" if len(runs) == 1 else "Runs",
        names=names,
        charts=charts,
        states=[_state(folder) for folder in folders],
        settings=_settings(folders),
    )
    with new_folder(output, overwrite, mark=PAGE) as folder:
        (folder / PAGE).write_text(text, encoding="utf-8")
    return Path(output) / PAGE


def chart(title: str, lines: Sequence[Points], names: Sequence[str]) -> dict[str, Any]:
    """What the template draws: lines in its units, ticks of both axes, and the last values."""
    points = [point for line in lines for point in line]
    (left, right), (low, high) = (
        (min(values), max(values)) for values in zip(*points, strict=True)
    )
    across, up = WIDTH - LEFT - 12, HEIGHT - TOP - BOTTOM

    def x(value: float) -> float:
        return round(LEFT + across * (value - left) / ((right - left) or 1), 1)

    def y(value: float) -> float:
        return round(TOP + up * (high - value) / ((high - low) or 1), 1)

    return {
        "title": title,
        "lines": [
            {
                "name": name,
                "number": number,
                "path": "M" + " L".join(f"{x(a)} {y(b)}" for a, b in line),
                "dots": [(x(a), y(b), f"{name}, update {a:,.0f}: {b:.5g}") for a, b in line]
                if len(line) <= 40
                else [],
                "last": f"{line[-1][1]:.4g}",
            }
            for number, (name, line) in enumerate(zip(names, lines, strict=True))
            if line
        ],
        "across": [(x(tick), f"{tick:,.0f}") for tick in ticks(left, right, whole=True)],
        "up": [(y(tick), f"{tick:.6g}") for tick in ticks(low, high)],
    }


def ticks(low: float, high: float, most: int = 5, whole: bool = False) -> list[float]:
    """Round numbers from low to high, about `most` or fewer: 1, 2 or 5 times a power of ten apart,
    `whole` ones where wanted."""
    if low == high:
        return [low]
    rough = max((high - low) / most, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _points(rows: Sequence[Mapping[str, str]], column: str) -> Points:
    """(update, value) of the rows that have one, at most MOST_POINTS."""
    found: Points = []
    for row in rows:
        try:
            point = float(row["step"]), float(row.get(column) or "nan")
        except (TypeError, ValueError):
            continue  # cut off by a kill
        if all(map(math.isfinite, point)):
            found.append(point)
    stretch = math.ceil(len(found) / MOST_POINTS)
    if stretch <= 1:
        return found
    parts = (found[start : start + stretch] for start in range(0, len(found), stretch))
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def _names(paths: Sequence[Path]) -> list[str]:
    last = [path.resolve().name for path in paths]
    several = len(set(last)) < len(last)
    return [str(path) for path in paths] if several else last


def _state(folder: RunFolder) -> dict[str, Any]:
    """How a run ended, and its results where it has some."""
    state, reason, results = folder.state()
    known = read_mapping(folder.about) if folder.about.is_file() else {}
    return {
        "state": f"{state} {reason}".strip(),
        "results": {split: results[split] for split in ("dev", "test") if split in results},
        "minutes": float(results["seconds"]) / 60 if "seconds" in results else None,
        "commit": (known.get("git_commit") or "")[:10],
    }


def _settings(folders: Sequence[RunFolder]) -> list[tuple[str, list[str], bool]]:
    """Each key with its value in each run, and whether they differ; those first."""
    settings = [flatten(read_mapping(folder.config)) for folder in folders]
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = []
    for key in keys:
        values = ["" if each.get(key) is None else str(each[key]) for each in settings]
        rows.append((key, values, len(set(values)) > 1 and not is_watched(key)))
    return sorted(rows, key=lambda row: not row[2])
