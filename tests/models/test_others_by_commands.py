"""A model of another library where a checkpoint goes: evaluated, indexed and searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from commands import run_command
from dual_models import clip_folder
from vse_exp.compat.loading import load_model
from vse_exp.evaluate import main as evaluate
from vse_exp.index import main as index
from vse_exp.retrieval.gallery import open_gallery
from vse_exp.retrieve import main as retrieve

SCENES = [f"data.scenes.n_{name}=20" for name in ("train", "dev", "test")]


def test_pictures_go_in_and_ranks_come_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("transformers", reason="a model of transformers")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    clip_folder(tmp_path / "clip")
    which = ["checkpoint=hf:clip", "data=scenes", *SCENES]
    run_command(evaluate, *which, "output=out.json", "ranks=ranks.npz", capsys=capsys)
    run_command(index, *which, "output=gallery", capsys=capsys)
    model = load_model("hf:clip")
    gallery = open_gallery("gallery", model)
    images, captions = (gallery.items(kind).vectors for kind in ("images", "captions"))
    scores = images @ captions.T
    own = np.repeat(np.arange(20), 5)
    # ties count against the query
    search = [(scores[:, j] >= scores[i, j]).sum() - 1 for j, i in enumerate(own)]
    told = json.loads(Path("out.json").read_text())
    assert told["sR@5"] == pytest.approx(100 * np.mean(np.array(search) < 5))
    query = ["checkpoint=hf:clip", "gallery=gallery", "format=json", "query=a red circle", "k=1"]
    found = json.loads(run_command(retrieve, *query, capsys=capsys).out)
    row = model.encode_sentences(["a red circle"])[0]
    assert found[0]["hits"][0]["item"] == int(np.argmax(images @ row))
