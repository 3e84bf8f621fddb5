"""The command `extract`: outputs, splits of a data set, exit codes, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from vse_exp.cli import config_dir
from vse_exp.data import load_split_from_config
from vse_exp.errors import UserError
from vse_exp.images.jobs import extract_from_config

NET = ["backbone=squeezenet1_1", "weights=random", "transform.size=32", "num_workers=0"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def run(*overrides: str) -> list:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose("extract", [*NET, *overrides]))
        return extract_from_config(config)


def write_split(folder: Path, split: str, names: list[str], captions: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"caption {number}\n" for number in range(captions)]
    (folder / f"mine_{split}_caps.txt").write_text("".join(lines))
    (folder / f"mine_{split}_images.txt").write_text("".join(f"{name}\n" for name in names))


def test_a_folder(photos, tmp_path, capsys):
    (extraction,) = run(f"images={photos}", f"output={tmp_path}/out/photos_ims.npy", "view=frame")
    assert extraction.n_images == 6
    assert "6 rows (squeezenet1_1, 512-d" in capsys.readouterr().out
    record = json.loads((tmp_path / "out/photos_features.json").read_text())
    assert record["transform"]["view"] == "squash"
    assert record["batch_size"] == 16
    run(f"images={photos}", f"output={tmp_path}/out/photos_ims.npy", "view=frame")
    assert "complete already" in capsys.readouterr().out


def test_all_splits_of_a_data_set_in_the_order_of_their_lists(photos, tmp_path):
    folder = tmp_path / "data/mine"
    write_split(folder, "train", ["4.png", "0.png", "2.png"], 6)
    write_split(folder, "dev", ["1.png", "1.png", "5.png"], 3)  # a line a caption
    run(f"images={photos}", f"output={folder}")
    config = {"name": "mine", "root": tmp_path / "data"}
    train = load_split_from_config(config, "train")
    assert train.image_names == ["4.png", "0.png", "2.png"]
    assert train.caption_image.tolist() == [0, 0, 1, 1, 2, 2]
    dev = load_split_from_config(config, "dev")
    assert dev.caption_image.tolist() == [0, 0, 1]
    # the rows are those of the pictures named
    run(f"images={photos}", f"output={tmp_path}/all.npy")
    rows = np.load(tmp_path / "all.npy")
    close = {"rtol": 0, "atol": 2e-3}
    np.testing.assert_allclose(train.image_features.rows(slice(None)), rows[[4, 0, 2]], **close)
    np.testing.assert_allclose(dev.image_features.rows(slice(None)), rows[[1, 5]], **close)


def test_unreadable_pictures_of_a_data_set(photos, tmp_path, capsys):
    folder = tmp_path / "data/mine"
    write_split(folder, "train", ["0.png", "1.png", "2.png"], 6)
    write_split(folder, "dev", ["3.png", "3.png", "gone.png", "4.png"], 4)
    (photos / "1.png").write_bytes(b"damaged")
    arguments = [f"images={photos}", f"output={folder}"]
    with pytest.raises(UserError, match=r"1 pictures of .*dev_images.txt could not be read"):
        run(*arguments)
    assert not (folder / "mine_dev_ims.npy").exists()
    ids = folder / "mine_dev_caption_ids.txt"
    ids.write_text("70\n")
    with pytest.raises(UserError, match=r"ids.txt has 1 lines for 4 captions: remove it"):
        run(*arguments, "drop_unreadable=true")
    ids.write_text("70\n71\n72\n73\n")
    run(*arguments, "drop_unreadable=true")
    assert (folder / "mine_train_caps.txt").read_text().split("\n")[:-1] == [
        f"caption {number}" for number in (0, 1, 4, 5)
    ]
    assert (folder / "mine_train_images.txt").read_text() == "0.png\n2.png\n"
    assert (folder / "mine_dev_images.txt").read_text() == "3.png\n3.png\n4.png\n"
    assert ids.read_text() == "70\n71\n73\n"
    config = {"name": "mine", "root": tmp_path / "data"}
    assert load_split_from_config(config, "train").caption_image.tolist() == [0, 0, 1, 1]
    assert load_split_from_config(config, "dev").captions == ["caption 0", "caption 1", "caption 3"]
    assert [extraction.made for extraction in run(*arguments)] == [0, 0]


def test_strict(photos, tmp_path):
    (photos / "1.png").write_bytes(b"damaged")
    output = tmp_path / "out.npy"
    with pytest.raises(UserError, match="strict=true, and 1 pictures were skipped"):
        run(f"images={photos}", f"output={output}", "strict=true")
    assert len(np.load(output)) == 5  # all the same
    with pytest.raises(UserError, match="strict=true"):  # and the second time
        run(f"images={photos}", f"output={output}", "strict=true")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["list=missing.txt"], "No file missing.txt"),
        (["device=cuda:77"], "device=cuda:77 cannot be used"),
        (["transform.std=0"], "above zero"),
        (["output=FOLDER"], "a folder without NAME_caps.txt"),
    ],
)
def test_mistakes(photos, tmp_path, overrides, message):
    overrides = [override.replace("FOLDER", str(tmp_path)) for override in overrides]
    with pytest.raises(UserError, match=message):
        run(f"images={photos}", f"output={tmp_path}/out.npy", *overrides)


def test_a_list_that_is_not_that_of_the_captions(photos, tmp_path):
    folder = tmp_path / "data/mine"
    write_split(folder, "train", ["0.png", "1.png"], 2)
    other = tmp_path / "other.txt"
    other.write_text("1.png\n0.png\n")
    arguments = [f"images={photos}", f"output={folder}/mine_train_ims.npy", f"list={other}"]
    with pytest.raises(UserError, match="differs from"):
        run(*arguments)


def test_terminated_and_run_again(photos, tmp_path):
    for number in range(6, 60):
        (photos / f"{number}.png").write_bytes((photos / f"{number % 6}.png").read_bytes())
    output = tmp_path / "out.npy"
    command = [sys.executable, "-m", "vse_exp.extract", f"images={photos}", f"output={output}"]
    command += [*NET, "batch_size=1", "transform.size=96"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    journal = tmp_path / ".out.npy.unfinished" / "journal.jsonl"
    while child.poll() is None and not (journal.is_file() and journal.read_text().count("\n") > 3):
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    _, told = child.communicate()
    signs_of_life = "extract: "
    told = [line for line in told.splitlines() if not line.startswith(signs_of_life)]
    assert (child.returncode, told) == (75, ["interrupted: the same command goes on from here"])
    assert not output.exists()
    extraction = run(*command[3:])[0]
    assert 0 < extraction.made < 60
    assert len(np.load(output)) == 60


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"two\nlines.png"])
def test_names_that_no_list_could_hold_are_told_first(photos, tmp_path, name):
    os.rename(photos / "3.png", os.fsencode(photos) + b"/" + name)
    with pytest.raises(UserError, match=r"the picture .*: rename it"):
        run(f"images={photos}", f"output={tmp_path}/out.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_an_output_that_is_a_link_or_device_is_refused(photos, tmp_path):
    link = tmp_path / "out.npy"
    link.symlink_to("/dev/null")
    with pytest.raises(UserError, match="is a link or no plain file"):
        run(f"images={photos}", f"output={link}", "overwrite=true")
    assert link.is_symlink()
