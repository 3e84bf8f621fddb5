"""Checkpoints of version 1, written by the program when it had no other, give the same vectors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.models.checkpoint import save_model

FOLDER = Path(__file__).parent / "version_1"
CAPTIONS = json.loads((FOLDER / "captions.json").read_text())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ckpt")), ids=lambda path: path.stem)
def test_vectors_are_as_they_were(path: Path, tmp_path: Path) -> None:
    if path.stem == "pretrained":
        pytest.importorskip("transformers", reason="needs the extra `text`")
    with np.load(path.with_suffix(".npz")) as kept, np.load(FOLDER / "inputs.npz") as inputs:
        images, sentences = kept["images"], kept["sentences"]
        given = inputs[str(kept["kind"])]
    model = load_model(path)
    save_model(model, tmp_path / "again.ckpt")  # as one of today
    for each in (model, load_model(tmp_path / "again.ckpt")):
        np.testing.assert_allclose(each.encode_sentences(CAPTIONS), sentences, atol=1e-6)
        np.testing.assert_allclose(each.encode_images(given), images, atol=1e-6)


@pytest.mark.parametrize("name", ["evil_package.Encoder", "os.system", "vse_exp.train.main"])
def test_a_file_runs_nothing_and_says_what_it_asks_for(name: str, tmp_path: Path) -> None:
    """In the folder of the package that it names, which Python would import from there."""
    (tmp_path / "evil_package").mkdir()
    (tmp_path / "evil_package" / "__init__.py").write_text("open('ran', 'w').close()")
    save_model(load_model(FOLDER / "bow.ckpt"), tmp_path / "model.ckpt")
    content = torch.load(tmp_path / "model.ckpt", weights_only=True)
    content["vse_exp"]["model"]["encoder"]["_target_"] = name
    torch.save(content, tmp_path / "model.ckpt")
    code = "import vse_exp; vse_exp.load_model('model.ckpt')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert f"The file asks for {name}" in done.stderr
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="The file asks for"):
        load_model(tmp_path / "model.ckpt", trust=["another_package"])
