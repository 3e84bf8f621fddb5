"""The programs that measure speed still run; their figures are not looked at."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for memory")


def run(tmp_path: Path, *arguments: str) -> list[dict[str, str]]:
    """Rows of the CSV."""
    path = tmp_path / "figures.csv"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--threads", "1", "--csv", str(path)]
    # not Flickr8k, where it lies: random captions do
    environment = os.environ | {"VSE_DATA_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command += arguments
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@LINUX
def test_programs_write_one_table(tmp_path: Path) -> None:
    rows = run(tmp_path, "--only", "encoders", "search")
    assert {row["benchmark"] for row in rows} == {"encoders", "search"}
    for row in rows:
        assert row["machine"]
        assert row["unit"]
        assert float(row["ours"]) > 0
        assert float(row["reference"]) > 0


@LINUX
@pytest.mark.slow
def test_all_programs_run(tmp_path: Path) -> None:
    assert len({row["benchmark"] for row in run(tmp_path)}) == 9
