"""The page of runs: its charts against hand-worked places, and what stands in broken folders."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vse_exp.errors import UserError
from vse_exp.pages.curves import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, chart, ticks, write_curves


def test_lines_go_from_edge_to_edge() -> None:
    drawn = chart("rsum", [[(0, 10.0), (100, 30.0)], [], [(50, 20.0)]], ["a", "b", "c"])
    left, right, top, bottom = LEFT, WIDTH - 12, TOP, HEIGHT - BOTTOM
    first, third = drawn["lines"]
    assert first["path"] == f"M{left:.1f} {bottom:.1f} L{right:.1f} {top:.1f}"
    assert third["number"] == 2
    assert third["dots"] == [((left + right) / 2, (top + bottom) / 2, "c, update 50: 20")]
    assert [label for _, label in drawn["up"]] == ["10", "15", "20", "25", "30"]
    assert [label for _, label in drawn["across"]] == ["0", "20", "40", "60", "80", "100"]


def test_a_single_point_has_a_single_tick() -> None:
    drawn = chart("rsum", [[(60, 417.7)]], ["a"])
    assert [label for _, label in drawn["across"]] == ["60"]
    assert [label for _, label in drawn["up"]] == ["417.7"]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_inside_at_even_distances(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 7
    steps = [after - before for before, after in itertools.pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6)
    assert low - 1e-6 * width <= found[0]
    assert found[-1] <= low + width * (1 + 1e-6)


def run(folder: Path, rate: float, metrics: str, results: bool = True) -> str:
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"lrate": rate, "seed": 1, "note": "<b>"}))
    (folder / "metrics.csv").write_text(metrics)
    if results:
        figures = {"aR@1": 1.25, "rsum": 60.5}
        told = {"dev": figures, "test": figures, "seconds": 90}
        (folder / "results.json").write_text(json.dumps(told))
    return str(folder)


def test_runs_stand_beside_each_other(tmp_path: Path) -> None:
    csv = "step,train/loss,val/rsum\n10,2.5,\n20,,60.5\n30,1.5\n4"  # the last line cut off
    first = run(tmp_path / "first", 0.1, csv)
    second = run(tmp_path / "second", 0.2, "step,train/loss\n", results=False)
    page = write_curves(tmp_path / "out", [first, second]).read_text()
    assert page.count("<svg") == 2
    assert "60.5" in page
    assert "1.5 minutes" in page
    assert "unfinished before its first update" in page
    assert "<b>first</b>" in page
    assert "&lt;b&gt;" in page
    different = page.index("lrate")
    assert different < page.index(">seed<")
    assert page.rindex('class="is-right"') < different
    with pytest.raises(UserError, match="overwrite"):
        write_curves(tmp_path / "out", [first])
    with pytest.raises(UserError, match="no run folder"):
        write_curves(tmp_path / "other", [str(tmp_path)])
    with pytest.raises(UserError, match="8 runs"):
        write_curves(tmp_path / "other", [first] * 9)
