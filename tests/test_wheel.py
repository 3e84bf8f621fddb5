"""A built wheel brings configs and pages along, and works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_wheel_works_outside_the_checkout(tmp_path):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    configs = {path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")}
    found = installed / "vse_exp" / "conf"
    assert {path.relative_to(found) for path in found.rglob("*.yaml")} == configs
    templates = Path("vse_exp") / "pages" / "templates"
    brought = {path.name for path in (installed / templates).iterdir()}
    assert brought == {path.name for path in (ROOT / "src" / templates).iterdir()}
    assert "report.html.j2" in brought
    done = subprocess.run(
        [sys.executable, "-m", "vse_exp.train", "--cfg", "job", "data=f8k"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "name: f8k" in done.stdout
