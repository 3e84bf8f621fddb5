"""What README, documentation and experiment files tell is what results/f8k_runs.csv holds."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from vse_exp.summarize import main

PROJECT = Path(__file__).parents[2]
RUNS = PROJECT / "results/f8k_runs.csv"
BY_RECIPE = [str(RUNS), "--group", "experiment", "--group", "model.encoder"]
README_SHOWS = "dev.rsum,test.rsum,test.aR@1,test.aR@10,test.sR@1,test.sR@10"
SHOWN = f"{README_SHOWS},parameters,seconds"


def test_the_tables(tmp_path):
    assert main([*BY_RECIPE, "--columns", SHOWN, "--markdown", str(tmp_path / "t.md")]) == 0
    table = (tmp_path / "t.md").read_text()
    text = (PROJECT / "docs/results.md").read_text()
    assert table in text
    assert f"--group experiment --group model.encoder --columns {SHOWN}" in text
    narrow = tmp_path / "readme.md"
    assert main([*BY_RECIPE, "--columns", README_SHOWS, "--markdown", str(narrow)]) == 0
    readme = (PROJECT / "README.md").read_text().splitlines()
    start = next(i for i, line in enumerate(readme) if line.startswith("| experiment |"))
    shown = readme[start : readme.index("", start)]
    assert len(shown) == 8
    assert set(shown) <= set(narrow.read_text().splitlines())


def test_the_grouped_file(tmp_path):
    assert main([*BY_RECIPE, "--csv", str(tmp_path / "f8k.csv")]) == 0
    assert (tmp_path / "f8k.csv").read_text() == (PROJECT / "results/f8k.csv").read_text()


with open(PROJECT / "results/f8k.csv", newline="", encoding="utf-8") as lines:
    GROUPS = list(csv.DictReader(lines))


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: f"{g['experiment']}-{g['model.encoder']}")
def test_the_experiments_files(group):
    text = (PROJECT / "conf/experiment" / f"{group['experiment']}.yaml").read_text()
    told = " ".join(text.replace("#", " ").split())
    for figure in ("dev.rsum", "test.rsum"):
        spread = group[f"{figure} std"]
        assert f"{group[figure]} ± {spread}" * bool(spread) in told
        assert group[figure] in told
