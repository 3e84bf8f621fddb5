"""`python -m vse_exp.compare … page=DIR`: two models side by side."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import WORDS, random_features
from small_models import small_model
from vse_exp.compare import main
from vse_exp.data.layouts import load_split
from vse_exp.evaluation.evaluator import evaluate_model
from vse_exp.models.checkpoint import save_model
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import Vocabulary

HOSTILE = "</td><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
IMAGES, PER_IMAGE = 30, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split with pictures and a hostile caption, and two models of it."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "tiny"
    folder.mkdir()
    captions = [" ".join(pair) for pair in itertools.combinations(WORDS, 2)][: IMAGES * PER_IMAGE]
    captions[7] = HOSTILE
    names = [f"{row}.png" for row in range(IMAGES)]
    (folder / "tiny_test_caps.txt").write_text("".join(f"{one}\n" for one in captions))
    (folder / "tiny_test_images.txt").write_text("".join(f"{one}\n" for one in names))
    np.save(folder / "tiny_test_ims.npy", random_features(IMAGES))
    (folder / "images").mkdir()
    for row, name in enumerate(names):
        Image.new("RGB", (30, 20), (row, 90, 120)).save(folder / "images" / name)
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        save_model(small_model(Vocabulary.build(captions)).eval(), root / f"{name}.ckpt")
    return root


def call(monkeypatch: pytest.MonkeyPatch, root: Path, *keys: str) -> int:
    data = ["data=custom", "data.name=tiny", f"paths.data_dir={root}", "resamples=20"]
    monkeypatch.setattr(sys, "argv", ["compare", *data, *keys])
    try:
        main()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.names.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_page_and_its_data(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, output = tmp_path / "page", tmp_path / "figures.json"
    models = [f"a={root}/a.ckpt", f"b=[{root}/a.ckpt,{root}/b.ckpt]"]
    assert call(monkeypatch, root, *models, f"page={page}", f"output={output}", "k=4") == 0

    from vse_exp import load_model

    split = load_split(SplitFiles.find(root, "tiny", "test"), "test")
    one = evaluate_model(load_model(root / "a.ckpt"), split)
    two = evaluate_model(load_model([root / "a.ckpt", root / "b.ckpt"]), split)
    captions, images = rows(page / "captions.csv"), rows(page / "images.csv")
    assert [row["caption"] for row in captions] == split.captions
    assert [row["image"] for row in captions] == [f"{i // PER_IMAGE}.png" for i in range(60)]
    assert [int(row["rank_a"]) - 1 for row in captions] == one.search_ranks.tolist()
    assert [int(row["rank_b"]) - 1 for row in captions] == two.search_ranks.tolist()
    assert [int(row["rank_b"]) - 1 for row in images] == two.annotation_ranks.tolist()
    groups = rows(page / "groups.csv")
    by_length = [row for row in groups if row["kind"] == "words"]
    assert sum(int(row["a_captions"]) for row in by_length) == 60
    hubs = [row for row in groups if row["kind"] == "found by others"]
    for side, model in (("a", one), ("b", two)):
        found = sum(int(row[f"{side}_captions"]) * float(row[f"{side}_R@10"]) for row in hubs) / 60
        assert found == pytest.approx(model.metrics["sR@10"], abs=0.01)
    figures = json.loads(output.read_text())["figures"]
    assert figures["rsum"]["a"] == pytest.approx(one.metrics["rsum"])

    text = (page / "index.html").read_text(encoding="utf-8")
    tags = Tags(text)
    assert "script" not in tags.names  # and so what a caption holds has not become one
    assert {"svg", "circle", "figure"} <= set(tags.names)
    local = [name for name in tags.sources if not name.startswith("data:")]
    assert all((page / name).is_file() for name in local)
    assert any(name.startswith("pictures/") for name in local)


def test_the_same_model_twice_differs_nowhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page"
    keys = [f"a={root}/a.ckpt", f"b={root}/a.ckpt", f"page={page}"]
    assert call(monkeypatch, root, *keys) == 0
    assert "ranks far better" not in (page / "index.html").read_text(encoding="utf-8")
    assert call(monkeypatch, root, *keys) == 1  # it is there
    assert call(monkeypatch, root, *keys, "overwrite=true") == 0


def test_ranks_alone_show_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"a={root}/a.ckpt", f"b={tmp_path}/b.npz", f"page={tmp_path}/page"]
    assert call(monkeypatch, root, *keys) == 1
    assert f"give checkpoints or run folders, not {tmp_path}/b.npz" in capsys.readouterr().err
