"""The bridge to ECCV Caption: with a module that has its interface and keeps what it is given, with
the package itself, and from COCO's JSON to the command's figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from commands import run_command
from vse_exp import evaluate, prepare, train
from vse_exp.data.opening import load_split_from_config
from vse_exp.errors import UserError
from vse_exp.evaluation.eccv import coco_ids, eccv_applies, eccv_metrics

IMAGE_IDS = [104, 101, 109]
CAPTION_IDS = [7, 3, 5, 9, 8, 1]
IMAGES = np.eye(3)
# captions 0 and 1 are of image 0, and so on; caption 5 is no part of the benchmark
CAPTIONS = np.array(
    [[1, 0.2, 0.1], [0.8, 0.3, 0], [0, 1, 0.3], [0.5, 0.7, 0], [0, 0.1, 1], [9, 0, 0]]
)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    given = SimpleNamespace()

    class Metrics:
        def __init__(self):
            self.coco_ids = np.array([7, 3, 5, 9, 8])
            self.eccv_gts = {"i2t": {104: [7, 3, 9], 109: [8]}, "t2i": {9: [104, 101]}}
            self.cxc_gts = {"i2t": {101: [5, 9]}, "t2i": {3: [104], 5: [101, 101]}}

        def compute_all_metrics(self, i2t, t2i, target_metrics, Ks, verbose):
            given.i2t, given.t2i = i2t, t2i
            names = [f"cxc_r{k}" for k in Ks] + [n for n in target_metrics if n != "cxc_recalls"]
            return {name: {"i2t": 0.25, "t2i": n / 10} for n, name in enumerate(names)}

    module = ModuleType("eccv_caption")
    module.Metrics = Metrics
    monkeypatch.setitem(sys.modules, "eccv_caption", module)
    return given


def test_retrieved_items_are_handed_over_by_coco_s_ids(given: SimpleNamespace) -> None:
    found = eccv_metrics(IMAGES, CAPTIONS, IMAGE_IDS, CAPTION_IDS)
    # as deep as recall at 10 needs, which here is all there is, best first, without caption 1
    assert given.i2t == {104: [7, 3, 9, *given.i2t[104][3:]], 101: [5, 9, 3, 7, 8],
                         109: [8, 5, 7, *given.i2t[109][3:]]}  # fmt: skip
    assert given.t2i[9] == [101, 104, 109]
    assert set(given.t2i) == {7, 3, 5, 9, 8}
    assert all(type(i) is int for items in given.t2i.values() for i in items)
    assert found["cxc_aR@5"] == 25
    assert found["cxc_sR@5"] == 10
    assert found["eccv_smAP@R"] == 50
    assert len(found) == 12


def test_ids_that_do_not_fit(given: SimpleNamespace) -> None:
    with pytest.raises(UserError, match=r"1 of 3 image ids of ECCV Caption and CxC .*such as 101"):
        eccv_metrics(IMAGES, CAPTIONS, [104, 2, 109], CAPTION_IDS)
    with pytest.raises(UserError, match="as many different caption ids"):
        eccv_metrics(IMAGES, CAPTIONS, IMAGE_IDS, CAPTION_IDS[:5])
    with pytest.raises(UserError, match="as many different image ids"):
        eccv_metrics(IMAGES, CAPTIONS, [104, 104, 109], CAPTION_IDS)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eccv_caption", None)
    with pytest.raises(UserError, match="pip install eccv_caption"):
        eccv_metrics(IMAGES, CAPTIONS, IMAGE_IDS, CAPTION_IDS)


def test_the_package_s_own_ground_truth() -> None:
    """Captions that lie where their image lies: how often is the original pair right there too?"""
    truth = pytest.importorskip("eccv_caption", reason="needs eccv_caption").Metrics()
    of_caption = {caption: images[0] for caption, images in truth.coco_gts["t2i"].items()}
    image_ids = sorted(set(of_caption.values()))
    row = {image: number for number, image in enumerate(image_ids)}
    images = np.random.default_rng(0).standard_normal((len(row), 32)).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    captions = images[[row[image] for image in of_caption.values()]]
    found = eccv_metrics(images, captions, image_ids, list(of_caption))
    for source, gts in (("eccv", truth.eccv_gts), ("cxc", truth.cxc_gts)):
        right = [of_caption[caption] in own for caption, own in gts["t2i"].items()]
        assert found[f"{source}_sR@1"] == pytest.approx(100 * np.mean(right))
    own = {image: set(captions) for image, captions in truth.coco_gts["i2t"].items()}
    right = [bool(own[image].intersection(them)) for image, them in truth.cxc_gts["i2t"].items()]
    assert found["cxc_aR@5"] == pytest.approx(100 * np.mean(right))


KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": f"COCO_val2014_{number:012d}.jpg",
            "split": split,
            "sentences": [
                {"raw": f"a {word} {number}", "sentid": id}
                for word, id in zip(["dog", "cat"], ids, strict=True)
            ],
        }
        for number, split, ids in [
            (104, "test", [7, 3]), (101, "test", [5, 9]), (109, "test", [8, 1]),
            (1, "train", [21, 22]), (2, "train", [23, 24]), (3, "val", [25, 26]),
        ]
    ],
}  # fmt: skip


@pytest.fixture
def coco(tmp_path: Path, capsys: pytest.CaptureFixture) -> Path:
    """Made by the command from Karpathy's JSON, with random features."""
    (tmp_path / "dataset_coco.json").write_text(json.dumps(KARPATHY))
    arguments = [f"source={tmp_path}/dataset_coco.json", "name=coco", f"output={tmp_path}/data"]
    run_command(prepare.main, *arguments, capsys=capsys)
    for split, rows in (("train", 2), ("dev", 1), ("test", 3)):
        features = np.random.default_rng(rows).standard_normal((rows, 6)).astype(np.float32)
        np.save(tmp_path / "data/coco" / f"coco_{split}_ims.npy", features)
    return tmp_path / "data"


@pytest.fixture
def trained(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> list[str]:
    """What evaluates a short training on that set."""
    data = ["data=coco", f"paths.data_dir={coco}"]
    small = [
        "max_epochs=1",
        "model.dim=4",
        "model.image_encoder.hidden=4",
        f"paths.run_dir={tmp_path}/run",
    ]
    run_command(train.main, *data, *small, capsys=capsys)
    return [*data, f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", "intervals=false"]


def test_ids_of_a_prepared_set(coco: Path, given: SimpleNamespace) -> None:
    split = load_split_from_config({"name": "coco", "root": coco}, "test")
    image_ids, caption_ids = coco_ids(split)
    assert (image_ids.tolist(), caption_ids.tolist()) == ([104, 101, 109], [7, 3, 5, 9, 8, 1])
    sys.modules["eccv_caption"].__spec__ = SimpleNamespace()  # as of one that is installed
    assert eccv_applies("coco", split)
    assert not eccv_applies("f8k", split)
    ids = coco / "coco/coco_test_caption_ids.txt"
    ids.write_text("7\n3\n")
    with pytest.raises(UserError, match="has 2 lines for 6 captions"):
        coco_ids(split)
    ids.write_text("7\n3\n5\n9\n8\nx\n")
    with pytest.raises(UserError, match=r"invalid literal .*a number a line"):
        coco_ids(split)
    ids.unlink()
    assert not eccv_applies("coco", split)
    with pytest.raises(UserError, match=r"make the data set of COCO's or Karpathy's JSON"):
        coco_ids(split)


def test_the_command_gives_the_figures(
    trained: list[str], given: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    asked = [*trained, "eccv=true", f"output={tmp_path}/out.json"]
    out = run_command(evaluate.main, *asked, capsys=capsys).out
    assert "ECCV mAP@R" in out
    assert json.loads((tmp_path / "out.json").read_text())["cxc_aR@5"] == 25
    said = run_command(evaluate.main, *trained, "eccv=false", capsys=capsys)
    assert "ECCV" not in said.out + said.err
    refused = run_command(evaluate.main, *asked, "rerank=csls", capsys=capsys, code=1)
    assert "leave out rerank, or eccv" in refused.err
    refused = run_command(evaluate.main, *asked, "split=dev", capsys=capsys, code=1)
    assert "3 of 3 image ids of ECCV Caption and CxC are not among those given" in refused.err
    refused = run_command(evaluate.main, *trained, "eccv=flase", capsys=capsys, code=1)
    assert "eccv=flase must be true or false." in refused.err


def test_the_command_gives_them_unasked_where_it_can(
    coco: Path, trained: list[str], given: SimpleNamespace, capsys: pytest.CaptureFixture
) -> None:
    sys.modules["eccv_caption"].__spec__ = SimpleNamespace()  # as of one that is installed
    assert "CxC R@5" in run_command(evaluate.main, *trained, capsys=capsys).out
    said = run_command(evaluate.main, *trained, "rerank=csls", capsys=capsys)
    assert "CxC" not in said.out + said.err
    (coco / "coco/coco_test_caption_ids.txt").write_text("1\n2\n3\n4\n5\n6\n")
    said = run_command(evaluate.main, *trained, capsys=capsys)
    assert "CxC" not in said.out
    assert said.err.startswith("No figures of ECCV Caption (eccv=false says nothing): ")
