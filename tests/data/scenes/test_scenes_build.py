"""The built-in data set on disk: complete, found again, and safe against other processes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vse_exp.data import load_split_from_config
from vse_exp.data.scenes import (
    build,
    captions,
    describe,
    draw,
    named_scene,
    prepare_scenes,
    prepare_twins,
    sample_scene,
    write_folder,
    write_pictures,
)
from vse_exp.data.scenes.descriptor import DIM
from vse_exp.data.scenes.drawing import SIZE
from vse_exp.errors import UserError
from vse_exp.evaluation.choices import read_questions
from vse_exp.files import read_lines
from vse_exp.split_files import SplitFiles

SIZES = {"n_train": 7, "n_dev": 3, "n_test": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return prepare_scenes(tmp_path_factory.mktemp("cache"), **SIZES)


@pytest.mark.parametrize(("split", "count"), [("train", 7), ("dev", 3), ("test", 2)])
def test_the_layout_is_the_ordinary_one(root, split, count):
    stem = root / "scenes" / f"scenes_{split}"
    told = Path(f"{stem}_caps.txt").read_text().splitlines()
    scenes = [sample_scene(0, split, index) for index in range(count)]
    assert told == [caption for scene in scenes for caption in captions(scene)]
    assert Path(f"{stem}_images.txt").read_text().splitlines() == [
        f"scene_0_{split}_{index:05d}.png" for index in range(count)
    ]
    rows = np.load(f"{stem}_ims.npy")
    assert rows.shape == (count, DIM)
    assert rows.dtype == np.float16
    expected = describe([draw(scene) for scene in scenes])
    np.testing.assert_allclose(rows, expected, atol=1e-3)


def test_twins_are_told_apart_by_binding_alone(tmp_path, monkeypatch):
    """Every caption is true of its own picture and false of its twin's, which has all its words."""
    monkeypatch.setattr(build, "PAIRS", 40)
    files = SplitFiles.find(prepare_twins(tmp_path, seed=3, n_train=7), "scenes", "twins")
    names, told = (read_lines(path) for path in (files.images, files.captions))
    things = [{(t.colour, t.shape) for t in named_scene(name).things} for name in names]
    for row, (caption, picture) in enumerate(zip(told, things, strict=True)):
        said = {tuple(noun.split()[1:]) for noun in caption.split(" and ")}
        assert said == picture
        assert not said & things[row ^ 1]
        assert sorted(caption.split()) == sorted(told[row ^ 1].split())
    shown = np.load(files.features).astype("f4")
    assert (np.abs(shown[::2] - shown[1::2]).max(1) > 0.05).all()
    questions = read_questions(files.choices, {name: row for row, name in enumerate(names)})
    assert [q.images for q in questions] == [(row, row + 1) for row in range(0, 80, 2)]
    assert [caption for q in questions for caption in q.right] == told


def test_the_descriptor_is_recorded(root):
    about = json.loads((root / "scenes" / "features.json").read_text())
    assert about == {
        "backbone": "scenes",
        "version": 1,
        "dim": DIM,
        "dtype": "float16",
        "normalized": True,
        "picture_size": SIZE,
    }


def test_the_data_readers_read_it(tmp_path, monkeypatch):
    monkeypatch.setenv("VSE_CACHE_DIR", str(tmp_path))
    config = {"root": None, "name": "scenes", "scenes": {"seed": 5, **SIZES}}
    split = load_split_from_config(config, "train")
    assert split.image_features.shape == (7, DIM)
    assert split.unit_norm
    assert split.caption_image.tolist() == [row for row in range(7) for _ in range(5)]
    assert split.image_names is not None
    scene = named_scene(split.image_names[6])
    assert scene == sample_scene(5, "train", 6)
    assert split.captions[30:] == captions(scene)


def test_a_set_is_made_once_and_by_content(tmp_path, monkeypatch):
    first = prepare_scenes(tmp_path, **SIZES)
    other = prepare_scenes(tmp_path, seed=1, **SIZES)
    with monkeypatch.context() as patch:
        patch.setattr(build, "_write_layout", None)  # not called again
        assert prepare_scenes(tmp_path, **SIZES) == first
    larger = prepare_scenes(tmp_path, **{**SIZES, "n_train": 8})
    assert sorted(tmp_path.iterdir()) == sorted([first, other, larger])
    # more scenes leave the others as they are; another seed changes them
    rows = [np.load(r / "scenes" / "scenes_train_ims.npy") for r in (first, larger, other)]
    np.testing.assert_array_equal(rows[0], rows[1][:7])
    assert (rows[0] != rows[2]).any(axis=1).all()


def test_two_at_once_both_succeed(tmp_path, monkeypatch):
    """Both have found nothing and write; the second to finish takes the first one's."""
    both = threading.Barrier(2)
    write = build._write_layout

    def write_together(*arguments):
        both.wait(timeout=30)
        write(*arguments)
        both.wait(timeout=30)

    monkeypatch.setattr(build, "_write_layout", write_together)
    roots: list[Path] = []
    threads = [
        threading.Thread(target=lambda: roots.append(prepare_scenes(tmp_path, **SIZES)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 2
    assert roots[0] == roots[1]
    assert list(tmp_path.iterdir()) == [roots[0]]
    assert len(list((roots[0] / "scenes").iterdir())) == 10


def test_nothing_is_left_of_a_failure(tmp_path, monkeypatch):
    def break_down(pictures):
        raise RuntimeError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr(build, "describe", break_down)
        with pytest.raises(RuntimeError, match="broken off"):
            prepare_scenes(tmp_path, **SIZES)
    assert list(tmp_path.iterdir()) == []
    assert prepare_scenes(tmp_path, **SIZES).is_dir()


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("VSE_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert build.cache_folder() == Path("/home/someone/.cache/vse_exp")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert build.cache_folder() == Path("/home/someone/.cache/vse_exp")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.cache_folder() == tmp_path / "vse_exp"
    monkeypatch.setenv("VSE_CACHE_DIR", "~/mine")
    assert build.cache_folder() == Path("/home/someone/mine")


def test_mistakes_are_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"Cannot write .* set VSE_CACHE_DIR"):
        prepare_scenes(tmp_path / "file", **SIZES)
    with pytest.raises(UserError, match="n_dev must be 1 or more"):
        prepare_scenes(tmp_path, n_dev=0)
    with pytest.raises(UserError, match="give one of 0 or more"):
        prepare_scenes(tmp_path, seed=-1)
    with pytest.raises(UserError, match=r"'dog.jpg' is no picture of the built-in data set"):
        write_pictures(tmp_path, ["dog.jpg"])
    with pytest.raises(UserError, match="ask for 16 or more"):
        write_pictures(tmp_path, ["scene_0_dev_00000.png"], size=1)
    with pytest.raises(UserError, match="Cannot write"):
        write_pictures(tmp_path / "file", ["scene_0_dev_00000.png"])


def test_pictures_are_written_by_name(tmp_path, root):
    names = (root / "scenes" / "scenes_dev_images.txt").read_text().splitlines()
    paths = write_pictures(tmp_path / "pages" / "images", names, size=64)
    assert [path.name for path in paths] == names
    for index, path in enumerate(paths):
        with Image.open(path) as picture:
            assert picture.mode == "RGB"
            assert picture.tobytes() == draw(sample_scene(0, "dev", index), 64).tobytes()


def test_the_command_writes_a_plain_folder_the_same_in_another_process(tmp_path):
    """Sets and dictionaries hash otherwise there; nothing may depend on it."""
    numbers = ["--train", "3", "--dev", "2", "--test", "1", "--seed", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "vse_exp.data.scenes", str(tmp_path / "there"), *numbers],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "6 pictures in" in done.stdout
    write_folder(tmp_path / "here", seed=4, n_train=3, n_dev=2, n_test=1)
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / place).rglob("*.*")}
        for place in ("here", "there")
    )
    assert here == there
    with open(tmp_path / "there" / "captions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert rows[-1]["split"] == "test"
    for row in rows:
        scene = named_scene(row["image"])
        assert scene is not None
        assert row["caption"] in captions(scene)
        assert (tmp_path / "there" / "images" / row["image"]).is_file()
