"""What `photos` runs, step by step; that it all works is docs/photos.md's, which a test types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from commands import run_command
from images.conftest import picture
from vse_exp import extract, photos
from vse_exp.files import write_json
from vse_exp.images.provenance import read_provenance
from vse_exp.runs import photo_search


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """The commands that were run, none of which does anything."""
    found: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(photos, "run_step", lambda name, arguments: found.append((name, arguments)))
    return found


@pytest.mark.parametrize(
    ("n_captions", "size"), [(5, 16), (720, 32), (30_000, 1024), (10**5, 1024)]
)
def test_a_small_set_has_small_batches(n_captions: int, size: int, tmp_path: Path) -> None:
    (tmp_path / "caps.txt").write_text("a dog\n" * n_captions)
    assert photo_search.batch_size(tmp_path / "caps.txt") == size


def test_captions_make_a_model(ran, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    captions = tmp_path / "photo_search/data/photos/photos_train_caps.txt"
    captions.parent.mkdir(parents=True)
    captions.write_text("a dog\n" * 720)
    keys = ["images=my photos", "captions=c.csv", 'train=["model.encoder=gru"]', "runtime=onnx"]
    keys.append('extract=["view=squash","grid=2"]')
    told = run_command(lambda: photos.main(keys), capsys=capsys).out
    assert [name for name, _ in ran] == ["prepare", "extract", "train", "index"]
    arguments = dict(ran)
    assert "images=my photos" in arguments["prepare"]
    assert {"data.batch_size=32", "model.encoder=gru"} <= set(arguments["train"])
    assert {"split=all", "pictures=my photos", "runtime=onnx"} <= set(arguments["index"])
    assert {"runtime=onnx", "view=squash", "grid=2"} <= set(arguments["extract"])
    assert told.count("runtime=onnx") == 1  # of the search box
    assert "python -m vse_exp.demo checkpoint=photo_search/run/checkpoints/best.ckpt" in told
    assert "'query=a dog on the beach'" in told


def test_without_captions_and_without_a_model_there_is_nothing_to_search_with(ran, capsys) -> None:
    told = run_command(lambda: photos.main(["images=p"]), capsys=capsys, code=1).err
    assert told.startswith("error: Give captions=FILE")
    assert not ran


def test_a_model_says_itself_how_its_features_are_made(ran, capsys) -> None:
    wrong = ["images=p", "checkpoint=best.ckpt", 'extract=["grid=2"]']
    told = run_command(lambda: photos.main(wrong), capsys=capsys, code=1).err
    assert told.startswith("error: train=… and extract=… are of a model of one's own")
    assert not ran


def test_a_step_that_fails_ends_it_with_its_status(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        photos.main(["images=nowhere", "captions=none.csv"])
    assert ended.value.code == 1
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: ")


def test_features_like_others(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
        picture(3).save(tmp_path / name / "1.png")
    random = ["backbone=resnet18", "weights=random", "seed=3", "transform.size=32", "num_workers=0"]
    run_command(lambda: extract.main(["images=a", "output=a_ims.npy", *random]), capsys=capsys)
    again = ["images=b", "output=b_ims.npy", "like=a_features.json", "num_workers=0"]
    run_command(lambda: extract.main(again), capsys=capsys)
    np.testing.assert_array_equal(np.load("a_ims.npy"), np.load("b_ims.npy"))
    assert read_provenance("b_ims.npy") == read_provenance("a_ims.npy")
    write_json(tmp_path / "none.json", {})
    wrong = ["images=b", "output=c_ims.npy", "like=none.json"]
    told = run_command(lambda: extract.main(wrong), capsys=capsys, code=1).err
    assert told.startswith("error: none.json is no record of features")
