"""A model of another library where a checkpoint goes: evaluated, indexed and searched."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from commands import run_command
from conftest import composed
from dual_models import clip_folder
from vse_exp.compare import main as compare
from vse_exp.compat.loading import load_model
from vse_exp.data.layouts import find_pictures
from vse_exp.embed import main as embed
from vse_exp.evaluate import main as evaluate
from vse_exp.index import main as index
from vse_exp.pages.demo import open_demo
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
    # its vectors in files, judged as those of any other program
    Path("captions.txt").write_text("\n".join(gallery.items("captions").names))
    names = gallery.items("images").names
    source = find_pictures("scenes", names)
    Path("pictures").mkdir()
    for number, name in enumerate(names):
        Image.open(io.BytesIO(source.read(number))).save(Path("pictures", name), "PNG")
    embedded = ["checkpoint=hf:clip", "block=7"]
    run_command(embed, *embedded, "captions=captions.txt", "output=c.npy", capsys=capsys)
    run_command(embed, *embedded, "pictures=pictures", "output=v_ims.npy", capsys=capsys)
    assert Path("v_images.txt").read_text().split() == names
    np.testing.assert_allclose(np.load("v_ims.npy"), images, atol=1e-6)
    vectors = "{images: v_ims.npy, captions: c.npy}"
    sides = [f"a={vectors}", "b=hf:clip", "data=scenes", *SCENES]
    run_command(compare, *sides, "resamples=20", "output=compared.json", capsys=capsys)
    compared = json.loads(Path("compared.json").read_text())["figures"]["sR@5"]
    assert compared["a"] == compared["b"] == pytest.approx(told["sR@5"])
    # a search box
    keys = composed("demo", ["checkpoint=hf:clip", "gallery=gallery"])
    demo = open_demo(OmegaConf.to_container(keys, resolve=True))  # type: ignore[arg-type]
    answer = demo.sentence("", "a red circle", 1)
    assert answer["images"][0]["item"] == found[0]["hits"][0]["item"]
    uploaded = Path("pictures", names[3]).read_bytes()
    assert demo.picture("", uploaded, "", "", 1)["images"][0]["item"] == 3
