"""`python -m vse_exp.convert` and `python -m vse_exp.embed`, run in this process."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import write_dataset
from vse_exp.compat.loading import load_model
from vse_exp.convert import main as convert
from vse_exp.embed import main as embed
from vse_exp.evaluate import main as evaluate
from vse_exp.models.checkpoint import save_model
from vse_exp.models.vse import VSE

CAPTIONS = ["a dog runs in the water", "", "two zzz dogs", "a", "the man  sits on a red bench"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    def call(main, **keys: object) -> None:
        arguments = [f"{key}={value}" for key, value in keys.items()]
        monkeypatch.setattr(sys, "argv", ["vse_exp", *arguments])
        main()

    return call


@pytest.fixture
def original(golden: Path) -> Path:
    return golden / "small_gru" / "small_gru.npz"


@pytest.fixture
def model(original: Path) -> VSE:
    return load_model(original)


@pytest.mark.parametrize("name", ["small_gru", "small_bow"])
def test_the_original_to_ours_and_back(golden: Path, tmp_path: Path, run, name: str) -> None:
    source = golden / name / f"{name}.npz"
    run(convert, checkpoint=source, output=tmp_path / "model.ckpt")
    run(convert, checkpoint=tmp_path / "model.ckpt", output=tmp_path / "back.npz")
    expected = load_model(source).encode_sentences(CAPTIONS)
    for path in (tmp_path / "model.ckpt", tmp_path / "back.npz"):
        np.testing.assert_array_equal(load_model(path).encode_sentences(CAPTIONS), expected)
    with np.load(source) as theirs, np.load(tmp_path / "back.npz") as ours:
        assert set(ours.files) == set(theirs.files)
        for key in theirs.files:
            np.testing.assert_array_equal(ours[key], theirs[key])


@pytest.mark.parametrize("name", ["small_gru", "small_bow"])
def test_evaluated_as_the_unconverted(golden: Path, tmp_path: Path, run, capsys, name: str) -> None:
    source = golden / name / f"{name}.npz"
    run(convert, checkpoint=source, output=tmp_path / "model.ckpt")
    write_dataset(tmp_path, "f8k", images=50, dim=load_model(source).dim_image)
    metrics = {}
    for path in (source, tmp_path / "model.ckpt"):
        report = tmp_path / f"{path.stem}.json"
        folder = {"data": "custom", "data.name": "f8k", "data.root": tmp_path}
        keys = folder | {"checkpoint": path, "split": "test", "output": report}
        run(evaluate, **keys)
        metrics[path] = json.loads(report.read_text())
    first, second = metrics.values()
    assert first["rsum"] > 0
    figures = ["rsum", *(f"{way}{kind}" for way in "as" for kind in ("R@1", "R@5", "R@10", "Medr"))]
    assert {key: first[key] for key in figures} == {key: second[key] for key in figures}


def test_vsepp_to_ours(golden: Path, tmp_path: Path, run, capsys) -> None:
    folder = golden / "small_vsepp"
    weights, words = folder / "model_best.pth.tar", folder / "f8k_precomp_vocab.pkl"
    run(convert, checkpoint=weights, vocabulary=words, output=tmp_path / "model.ckpt")
    theirs, ours = load_model(weights), load_model(tmp_path / "model.ckpt")
    np.testing.assert_array_equal(
        ours.encode_sentences(CAPTIONS), theirs.encode_sentences(CAPTIONS)
    )
    expected = np.load(folder / "im_vecs.npy")
    assert np.abs(ours.encode_images(np.load(folder / "feats.npy")) - expected).max() < 1e-6
    with pytest.raises(SystemExit):
        run(convert, checkpoint=weights, output=tmp_path / "model.npz")
    assert capsys.readouterr().err.startswith("error: The original has no")
    with pytest.raises(SystemExit):
        run(convert, checkpoint=weights, output=tmp_path / "model.txt")
    assert "output=" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


def test_captions_of_a_file(original: Path, model: VSE, tmp_path: Path, run) -> None:
    (tmp_path / "captions.txt").write_text("\n".join(CAPTIONS) + "\n")
    output = tmp_path / "vectors.npy"
    for block in (2, 100):
        run(
            embed,
            checkpoint=original,
            captions=tmp_path / "captions.txt",
            output=output,
            block=block,
        )
        np.testing.assert_allclose(np.load(output), model.encode_sentences(CAPTIONS), atol=1e-6)


def test_captions_of_standard_input(original: Path, model: VSE, tmp_path: Path, run, monkeypatch):
    text = io.BytesIO("a dog\ncafé".encode())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=text))
    run(embed, checkpoint=original, captions="-", output=tmp_path / "v.npy")
    expected = model.encode_sentences(["a dog", "café"])
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-6)


def test_features(golden: Path, original: Path, tmp_path: Path, run) -> None:
    features = np.load(golden / "small_gru" / "feats.npy")
    expected = np.load(golden / "small_gru" / "im_vecs.npy")
    np.save(tmp_path / "all.npy", features)
    np.save(tmp_path / "one.npy", features[0])
    np.save(tmp_path / "others.npy", features[1:])
    (tmp_path / "list.txt").write_text("one.npy\nothers.npy\n")
    for source in ("all.npy", "list.txt"):
        keys = {"features": tmp_path / source, "output": tmp_path / "v.npy", "block": 3}
        run(embed, checkpoint=original, **keys)
        np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-6)


def test_mistakes(original: Path, tmp_path: Path, run, capsys) -> None:
    def message(**keys: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            run(embed, checkpoint=original, output=tmp_path / "v.npy", **keys)
        assert stopped.value.code == 1
        assert not (tmp_path / "v.npy").exists()
        return capsys.readouterr().err

    assert "either captions=…, features=… or pictures=…" in message()
    assert "Cannot read" in message(captions=tmp_path / "absent.txt")
    (tmp_path / "latin.txt").write_bytes(b"a dog\ncaf\xe9\n")
    assert "line 2 is not UTF-8" in message(captions=tmp_path / "latin.txt")
    (tmp_path / "empty.txt").write_text("")
    assert "no captions" in message(captions=tmp_path / "empty.txt")
    rows = np.ones((5, load_model(original).dim_image or 0), dtype=np.float32)
    rows[4, 0] = np.nan
    np.save(tmp_path / "f.npy", rows)
    assert "f.npy row 4 holds NaN" in message(features=tmp_path / "f.npy", block=2)
    np.save(tmp_path / "f.npy", rows[:, 1:])
    assert "the model takes rows of" in message(features=tmp_path / "f.npy")
    (tmp_path / "list.txt").write_text("nothing.npy\n")
    assert "No feature file" in message(features=tmp_path / "list.txt")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_checkpoints_keep_where_they_come_from(model: VSE, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m.ckpt", {"converted_from": "x.npz"})
    again = load_model(tmp_path / "m.ckpt").vocabulary
    assert again.to_dict() == model.vocabulary.to_dict()
