"""Plots over runs: learning curves with bands, a key's effect, parallel coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.runs.summary import Group


def draw_plots(groups: Sequence[Group], folder: str | Path) -> list[Path]:
    """Write `curves.png` (where runs have curves), `effect_KEY.png` a key and `parallel.png`.

    Returns their paths. UserError where matplotlib (extra `plots`) is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("Plots need matplotlib: pip install 'vse_exp[plots]'.") from error
    folder = Path(folder)
    written: list[Path] = []

    def save(figure: Any, name: str) -> None:
        with atomic_path(folder / name) as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches="tight")
        written.append(folder / name)

    if any(run.curve()[0] for group in groups for run in group.runs):
        figure = Figure(figsize=(8, 5))
        _curves(figure.subplots(), groups)
        save(figure, "curves.png")
    finished = [group for group in groups if group.values("dev.rsum")]
    keys = list(finished[0].settings) if finished else []
    for key in keys:
        figure = Figure(figsize=(6, 4))
        _effect(figure.subplots(), finished, key)
        save(figure, f"effect_{key.replace('/', '_')}.png")
    if len(keys) > 1:
        figure = Figure(figsize=(2 + 1.8 * len(keys), 5))
        _parallel(figure.subplots(), finished, keys)
        save(figure, "parallel.png")
    return written


def _curves(axes: Any, groups: Sequence[Group]) -> None:
    for group in groups:
        curves = [np.array(run.curve()) for run in group.runs]
        curves = [curve for curve in curves if curve.size]
        if not curves:
            continue
        length = min(curve.shape[1] for curve in curves)
        steps = curves[0][0][:length]
        values = np.stack([curve[1][:length] for curve in curves])
        (line,) = axes.plot(steps, values.mean(0), label=group.name)
        if len(curves) > 1:
            low, high = values.min(0), values.max(0)
            axes.fill_between(steps, low, high, alpha=0.2, color=line.get_color())
    axes.set(xlabel="update", ylabel="dev rsum", title="Mean over seeds; band from least to most")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")


def _levels(values: Iterable[Any]) -> list[str]:
    """Distinct values as text, in the order of their size where they are numbers."""
    distinct = {str(value) for value in values}
    try:
        return sorted(distinct, key=float)
    except ValueError:
        return sorted(distinct)


def _effect(axes: Any, groups: Sequence[Group], key: str) -> None:
    levels = _levels(group.settings[key] for group in groups)
    values = [
        [v for group in groups if str(group.settings[key]) == level for v in
         group.values("dev.rsum")] for level in levels
    ]  # fmt: skip
    axes.boxplot(values)
    axes.set_xticks(range(1, len(levels) + 1), levels)
    axes.set(xlabel=key, ylabel="dev rsum", title=f"Effect of {key}")


def _parallel(axes: Any, groups: Sequence[Group], keys: Sequence[str]) -> None:
    from matplotlib import colormaps

    columns = [[str(group.settings[key]) for group in groups] for key in keys]
    scores = np.array([group.mean("dev.rsum") or 0.0 for group in groups])
    shade = (scores - scores.min()) / max(1e-9, float(np.ptp(scores)))
    for index in range(len(groups)):
        heights = []
        for column in columns:
            levels = _levels(column)
            heights.append(levels.index(column[index]) / max(1, len(levels) - 1))
        axes.plot([*heights, shade[index]], color=colormaps["viridis"](shade[index]), alpha=0.8)
    for place, column in enumerate(columns):
        levels = _levels(column)
        for height, level in enumerate(levels):
            axes.text(place, height / max(1, len(levels) - 1), f" {level}", fontsize="small")
    axes.set_xticks(range(len(keys) + 1), [*keys, "dev rsum"], rotation=20)
    axes.set_yticks([0, 1], [f"{scores.min():.1f}", f"{scores.max():.1f}"])
    axes.yaxis.tick_right()
    axes.set_title("Each line a configuration, the brighter the better")
