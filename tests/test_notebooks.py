"""The notebooks run from top to bottom."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vse_exp
from forks import forked_python

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_notebooks_use_what_is_public() -> None:
    """`import vse_exp` and `from vse_exp import …` alone, so that none of it breaks unseen."""
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join("".join(one["source"]) for one in cells if one["cell_type"] == "code")
        assert "vse_exp" in code
        assert not re.search(r"(from|import) vse_exp\.", code), path.name
        used = re.findall(r"vse_exp\.(\w+)\(|from vse_exp import (.*)", code)
        names = {name for one, several in used for name in [one, *several.split(", ")] if name}
        assert names <= set(vse_exp.__all__), path.name


@pytest.mark.filterwarnings("default")  # the kernel's own libraries
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # of more epochs than one nothing here depends
        cell.source = re.sub(r"\bmax_epochs=\d+", "max_epochs=1", cell.source)
    before = sorted(path.parent.rglob("*"))
    kernel = [forked_python(), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (tmp_path / "kernels" / "forked").mkdir(parents=True)
    (tmp_path / "kernels" / "forked" / "kernel.json").write_text(
        json.dumps({"argv": kernel, "display_name": "forked", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(
        notebook, timeout=600, resources=resources, kernel_name="forked"
    ).execute()
    assert sorted(path.parent.rglob("*")) == before  # what it writes lies elsewhere
    printed = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
    assert "image/" in printed  # a picture, or several in a table
    if path.stem == "01_tour":
        assert "test, 500 images x 2,500 captions" in printed
