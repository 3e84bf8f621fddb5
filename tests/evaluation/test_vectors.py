"""Vectors of another program in the place of a model, by ranks worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import run_command
from vse_exp.compare import main as compare
from vse_exp.evaluate import main as evaluate
from vse_exp.evaluation.vectors import given_vectors
from vse_exp.index import main as index
from vse_exp.report import main as report
from vse_exp.retrieval.opening import open_gallery

IMAGES = [[1, 0], [0, 2]]
CAPTIONS = [[2, 1], [1, 3], [0, 1], [1, 1]]
"""The first two are of image 0: the first finds it, the second does not; the last one of image 1
is as near to both, which counts against it. By inner products it would find its own."""
VECTORS = ["images=images.npy", "captions=captions.npy"]
TEXTS = ["a dog runs", "a cat", "a boat", "a cat"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.array(IMAGES, np.float32))
    np.save("captions.npy", np.array(CAPTIONS, np.float64))
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Callable[..., Any]:
    def called(command: Any, *keys: str, code: int = 0) -> Any:
        return run_command(command, *keys, capsys=capsys, code=code)

    return called


def test_ranks_worked_out_by_hand(run) -> None:
    out = run(evaluate, *VECTORS, "output=out.json", "intervals=false", "hubness=false").out
    assert "images.npy, 2 images x 4 captions, full gallery" in out
    told = json.loads(Path("out.json").read_text())
    assert (told["aR@1"], told["sR@1"], told["sMedr"]) == (100, 50, 1)


def test_several_files_are_the_mean_of_their_cosines(run) -> None:
    """Also of other sizes and lengths of rows, and re-ranked over a bank in files."""
    random = np.random.default_rng(0)
    made = {
        name: random.standard_normal((count, dim)).astype(np.float32)
        for side, count in (("images", 20), ("captions", 100), ("bank_i", 30), ("bank_c", 50))
        for name, dim in ((f"{side}_a", 3), (f"{side}_b", 5))
    }
    for name, rows in made.items():
        np.save(f"{name}.npy", rows)
    unit = {name: rows / np.linalg.norm(rows, axis=1)[:, None] for name, rows in made.items()}
    own, bank = (
        np.arange(100) // 5,
        "bank={images: [{}_a.npy,{}_b.npy], captions: [{}_a.npy,{}_b.npy]}",
    )

    def mean(images: str, captions: str) -> np.ndarray:
        return sum(unit[f"{images}_{of}"] @ unit[f"{captions}_{of}"].T for of in "ab") / 2

    def ranks(scores: np.ndarray) -> list[int]:
        return [int((scores[row] > scores[row, own[row]]).sum()) for row in range(100)]

    both = [f"{side}=[{side}_a.npy,{side}_b.npy]" for side in ("images", "captions")]
    rest = ["ranks=ranks.npz", "intervals=false", "hubness=false"]
    assert "20 images x 100 captions" in run(evaluate, *both, *rest).out
    scores = mean("images", "captions").T
    assert np.load("ranks.npz")["search_ranks"].tolist() == ranks(scores)
    named = bank.replace("{}_", "bank_i_", 2).replace("{}_", "bank_c_")
    run(evaluate, *both, *rest, "rerank=inverted_softmax", named)
    hubs = np.log(np.exp(20 * mean("images", "bank_c")).sum(1)) / 20
    assert np.load("ranks.npz")["search_ranks"].tolist() == ranks(scores - hubs)


def test_the_map_of_captions_to_images(run) -> None:
    np.save("pairs.npy", np.array([0, 1, 1, 0]))
    run(evaluate, *VECTORS, "caption_image=pairs.npy", "output=out.json", "ranks=ranks.npz")
    assert np.load("ranks.npz")["search_ranks"].tolist() == [0, 0, 0, 1]
    sides = "{images: images.npy, captions: captions.npy, caption_image: pairs.npy}"
    out = run(compare, f"a={sides}", "b=ranks.npz", "resamples=20").out
    assert "2 images x 4 captions" in out


def test_texts_and_names_of_a_data_set(run, folder: Path) -> None:
    (folder / "d").mkdir()
    Path("d/d_test_caps.txt").write_text("\n".join(TEXTS))
    Path("d/d_test_images.txt").write_text("x.jpg\ny.jpg\n")
    data = ["data=custom", "data.name=d", f"paths.data_dir={folder}"]
    assert "d test, 2 images" in run(evaluate, *VECTORS, *data).out
    run(report, *VECTORS, *data, "output=page")
    page = Path("page/index.html").read_text()
    assert "a dog runs" in page
    assert "y.jpg" in page
    run(index, *VECTORS, *data, "output=gallery")
    gallery = open_gallery("gallery")
    assert gallery.items("captions").names == TEXTS
    found = gallery.search(np.array([[0.0, 1.0]], np.float32), "captions", "images", 1)
    assert gallery.named(found, "images")[0][0].name == "y.jpg"
    run(index, VECTORS[0], "output=images_alone")
    assert open_gallery("images_alone").kinds == ["images"]


def test_a_page_of_two_sets_of_vectors(run) -> None:
    np.save("others.npy", np.array(CAPTIONS[::-1], np.float16))
    a = "a={images: images.npy, captions: captions.npy}"
    b = "b={images: images.npy, captions: others.npy}"
    run(compare, a, b, "page=page", "output=out.json", "resamples=20")
    figures = json.loads(Path("out.json").read_text())["figures"]["sR@1"]
    assert (figures["a"], figures["b"]) == (50, 25)  # of those the third finds its own
    lines = Path("page/captions.csv").read_text().splitlines()
    assert lines[0] == "image,caption,rank_a,rank_b"
    assert lines[1] == "image 0,caption 0,1,2"


def test_rows_of_unit_norm_stay_as_they_are() -> None:
    rows = np.array([[0.6, 0.8], [0.28, 0.96]], np.float32)
    np.save("unit.npy", rows)
    model, split = given_vectors("unit.npy", "unit.npy")
    np.testing.assert_array_equal(model.encode_images(split.image_features), rows)
    np.testing.assert_array_equal(model.encode_sentences(split.captions), rows)
    np.testing.assert_array_equal(model.encode_sentences(["caption 1"]), rows[1:])


@pytest.mark.parametrize(
    ("content", "keys", "said"),
    [
        (np.array([[{}]] * 4, dtype=object), [], "c.npy is no complete .npy file"),
        (np.ones((4, 2), int), [], "c.npy holds int64"),
        (np.ones((4, 3)), [], "c.npy of 3: give vectors of one space"),
        (np.ones((3, 2)), [], "c.npy has 3 rows and images.npy 2"),
        (np.array([[1, 1], [np.nan, 1]]), [], "c.npy row 1 holds NaN or Inf"),
        (np.ones((4, 2, 2)), [], "c.npy has shape (4, 2, 2), and vectors are (n, d)"),
        (None, [], "No feature file c.npy"),
        (np.ones((4, 2)), ["caption_image=none.npy"], "No file none.npy"),
        (np.ones((4, 2)), ["caption_image=c.npy"], "caption_image holds torch.float64"),
        (np.ones((4, 2)), ["checkpoint=x.ckpt"], "checkpoint=… has vectors of its own"),
        (np.ones((4, 2)), ["order=true"], "what needs new sentences needs the model"),
    ],
)
def test_what_does_not_fit_is_told(run, content, keys, said) -> None:
    if content is not None:
        np.save("c.npy", content, allow_pickle=True)
    err = run(evaluate, VECTORS[0], "captions=c.npy", *keys, code=1).err
    assert f"error: {said}" in err or said in err.splitlines()[-1]


def test_what_is_missing_is_told(run) -> None:
    assert "give captions=FILE.npy" in run(evaluate, VECTORS[0], code=1).err
    assert "checkpoint=… is required" in run(evaluate, code=1).err
