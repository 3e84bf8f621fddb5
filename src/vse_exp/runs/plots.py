"""Plots over runs: learning curves with bands, a key's effect, parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.runs.collect import figures, settings
from vse_exp.runs.folder import RunFolder
from vse_exp.runs.summary import data_sets, label, mean, order, rounded, short_keys

MOST_CURVES = 10


def draw_plots(
    groups: Sequence[pd.DataFrame], keys: Sequence[str], folder: str | Path
) -> list[Path]:
    """Write `curves.png` (where runs have curves), `effect_KEY.png` a key and `parallel.png`.

    `groups`: the runs of each configuration, best first; `keys` tell them apart. Returns the
    files. UserError where matplotlib (extra `plots`) is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("Plots need matplotlib: pip install 'vse_exp[plots]'.") from error
    names = short_keys(keys)
    written: list[Path] = []

    def save(figure: Any, name: str) -> None:
        written.append(Path(folder) / name)
        with atomic_path(written[-1]) as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches="tight")

    curves = [[curve(path) for path in group["run", "path"]] for group in groups]
    if any(len(one) for group in curves for one in group):
        figure = Figure(figsize=(8, 5))
        labels = [label(group, names) for group in groups]
        _curves(figure.subplots(), dict(zip(labels, curves, strict=True)))
        save(figure, "curves.png")
    groups = [group for group in groups if len(figures(group, "dev.rsum"))]
    if not groups:
        return written
    for key, name in names.items():
        if key in ("data", "data.name"):
            continue
        figure = Figure(figsize=(6, 4))
        _effect(figure.subplots(), groups, key, name)
        save(figure, f"effect_{key.replace('/', '_')}.png")
    if len(names) > 1:
        figure = Figure(figsize=(2 + 1.8 * len(names), 5))
        _parallel(figure.subplots(), groups, names)
        save(figure, "parallel.png")
    return written


def curve(path: Path) -> pd.Series:
    """Dev rsum by update; empty where a run has none, or is a record."""
    try:
        return pd.Series(RunFolder(path).curve(), dtype=float)
    except UserError:  # the table of runs tells of it
        return pd.Series(dtype=float)


def _curves(axes: Any, groups: Mapping[str, Sequence[pd.Series]]) -> None:
    drawn = {name: pd.DataFrame(dict(enumerate(curves))) for name, curves in groups.items()}
    drawn = {name: table for name, table in drawn.items() if not table.empty}
    for name, table in list(drawn.items())[:MOST_CURVES]:
        # a marker a validation, so that a run of one is seen
        (line,) = axes.plot(table.index, table.mean(axis=1), marker="o", markersize=3, label=name)
        if len(table.columns) > 1:
            low, high = table.min(axis=1), table.max(axis=1)
            axes.fill_between(table.index, low, high, alpha=0.2, color=line.get_color())
    title = "Mean over seeds; band from least to most"
    if len(drawn) > MOST_CURVES:
        title += f"; the best {MOST_CURVES} of {len(drawn)}"
    axes.set(xlabel="update", ylabel="dev rsum", title=title)
    _legend(axes)


def _effect(axes: Any, groups: Sequence[pd.DataFrame], key: str, name: str) -> None:
    """A point a run and the mean over them, the data sets apart."""
    levels = order([settings(group, key)[0] for group in groups])
    by_data: dict[str, list[pd.DataFrame]] = {}
    for group in groups:
        by_data.setdefault(data_sets(group)[0], []).append(group)
    for data, members in by_data.items():
        found: dict[int, list[float]] = {}
        for group in members:
            place = levels.index(settings(group, key)[0])
            found.setdefault(place, []).extend(figures(group, "dev.rsum"))
        places = sorted(found)
        (line,) = axes.plot(places, [np.mean(found[place]) for place in places], label=data)
        for place in places:
            axes.plot([place] * len(found[place]), found[place], "o", markersize=5, alpha=0.6,
                      color=line.get_color())  # fmt: skip
    ticks = [rounded(level, 24) or "(none)" for level in levels]
    slanted = sum(map(len, ticks)) > 50
    axes.set_xticks(range(len(levels)), ticks, rotation=30 if slanted else 0,
                    ha="right" if slanted else "center")  # fmt: skip
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set(xlabel=name, ylabel="dev rsum", title=f"Effect of {name}: a point a run, and the mean")
    if len(by_data) > 1:
        _legend(axes)


def _legend(axes: Any) -> None:
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _parallel(axes: Any, groups: Sequence[pd.DataFrame], names: Mapping[str, str]) -> None:
    from matplotlib import colormaps

    table = pd.DataFrame({key: [settings(group, key)[0] for group in groups] for key in names})
    scores = np.array([mean(figures(group, "dev.rsum")) for group in groups])
    shade = (scores - scores.min()) / max(1e-9, float(np.ptp(scores)))
    heights = pd.DataFrame(index=table.index)
    for place, key in enumerate(names):
        levels = order(list(table[key]))
        heights[key] = [levels.index(one) / max(1, len(levels) - 1) for one in table[key]]
        for height, level in enumerate(levels):
            axes.annotate(
                rounded(level, 14) or "(none)", (place, height / max(1, len(levels) - 1)), (8, 0),
                textcoords="offset points", fontsize="small", va="center", zorder=3,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
            )  # fmt: skip
    for line, one in zip(heights.to_numpy(), shade, strict=True):
        axes.plot([*line, one], color=colormaps["viridis"](one), alpha=0.8, marker="o")
    axes.set_xticks(range(len(names) + 1), [*names.values(), "dev rsum"], rotation=20)
    axes.set_yticks([0, 1], [f"{scores.min():.1f}", f"{scores.max():.1f}"])
    axes.yaxis.tick_right()
    axes.set_title("Each line a configuration, the brighter the better")
