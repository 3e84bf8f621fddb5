"""The report: its numbers, its escaping, and the page as a browser shows it."""

from __future__ import annotations

import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from browser import dump_dom
from conftest import WORDS, random_features
from small_models import small_model
from vse_exp.data.layouts import Split, load_split
from vse_exp.errors import UserError
from vse_exp.evaluation.embed import embed_split
from vse_exp.models.checkpoint import save_model
from vse_exp.models.vse import VSE
from vse_exp.pages.histogram import rank_counts
from vse_exp.pages.report import write_report
from vse_exp.report import main
from vse_exp.retrieval.pictures import open_thumbnails
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import Vocabulary

HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)> & \u2028"
IMAGES, PER_IMAGE = 40, 2


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Images of two captions each, one of them hostile, with pictures in a folder."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    folder.mkdir()
    # pairs of words, no two alike: nothing ties
    captions = [" ".join(pair) for pair in itertools.combinations(WORDS, 2)][: IMAGES * PER_IMAGE]
    captions[7] = HOSTILE
    names = [f"{row}.png" for row in range(IMAGES)]
    names[3] = "<b>bold</b>.png"
    (folder / "tiny_test_caps.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
    (folder / "tiny_test_images.txt").write_text("\n".join(names) + "\n")
    np.save(folder / "tiny_test_ims.npy", random_features(IMAGES))
    (folder / "images").mkdir()
    for row in range(0, IMAGES, 2):  # every other picture is missing
        Image.new("RGB", (300, 200), (row, 90, 120)).save(folder / "images" / names[row])
    return load_split(SplitFiles.find(folder.parent, "tiny", "test"), "test")


@pytest.fixture(scope="module")
def model(split: Split) -> VSE:
    return small_model(Vocabulary.build(split.captions)).eval()


@pytest.fixture(scope="module")
def report(split: Split, model: VSE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report") / "report"
    thumbnails = open_thumbnails(str(split.files.captions.with_name("images")), split.image_names)
    write_report(
        output,
        model,
        split,
        source="tiny <test>",
        about="a & b",
        thumbnails=thumbnails,
        k=3,
    )
    return output


def test_every_bin_is_a_bar(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    found = content(report)
    for side in ("annotation", "search"):
        counts = rank_counts(np.array(found[side]["ranks"]) - 1)
        drawn = re.findall(r"<title>ranks (\S+): (\d+)</title>", text)
        assert [(label, str(count)) for label, count in counts] in (
            drawn[: len(counts)],
            drawn[-len(counts) :],
        )


def content(report: Path) -> dict:
    text = (report / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_results_are_those_of_a_full_sort(report: Path, split: Split, model: VSE) -> None:
    data = content(report)
    images, captions = (rows.numpy() for rows in embed_split(model, split))
    scores = images.astype(np.float64) @ captions.T.astype(np.float64)
    for row in range(IMAGES):
        order = np.argsort(-scores[row])
        assert data["annotation"]["items"][row] == order[:3].tolist()
        own = np.flatnonzero(split.caption_image == row)
        places = [int(np.flatnonzero(order == caption)[0]) + 1 for caption in own]
        assert [data["places"][caption] for caption in own] == places
        assert data["annotation"]["ranks"][row] == min(places)
    for caption, image in enumerate(split.caption_image):
        order = np.argsort(-scores[:, caption])
        assert data["search"]["items"][caption] == order[:3].tolist()
        assert data["search"]["ranks"][caption] == int(np.flatnonzero(order == image)[0]) + 1
        assert data["own_scores"][caption] == pytest.approx(scores[image, caption], abs=1e-4)
    assert data["captions"] == split.captions
    assert data["pictures"] == list(range(0, IMAGES, 2))


def test_equal_captions_are_not_held_against_each_other(tmp_path: Path) -> None:
    """Places count wrong captions of the same score first, and right ones not at all."""
    folder = tmp_path / "same"
    folder.mkdir()
    (folder / "test_caps.txt").write_text("a dog\n" * 6)
    np.save(folder / "test_ims.npy", random_features(3))
    split = load_split(SplitFiles.find(tmp_path, "same", "test"), "test", captions_per_image=2)
    model = small_model(Vocabulary.build(split.captions)).eval()
    write_report(tmp_path / "report", model, split, source="same", about="", thumbnails=None)
    data = content(tmp_path / "report")
    assert data["places"] == [5] * 6
    assert data["annotation"]["ranks"] == [5] * 3


class Tags(HTMLParser):
    """All tags of a page, and its whole text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))


def test_nothing_in_a_caption_is_markup(report: Path) -> None:
    tags = Tags((report / "index.html").read_text(encoding="utf-8")).tags
    assert [tag for tag, _ in tags].count("script") == 2
    assert not any(tag in ("b", "img") and "onerror" in attrs for tag, attrs in tags)
    assert "tiny &lt;test&gt;" in (report / "index.html").read_text()
    assert "a &amp; b" in (report / "index.html").read_text()


def test_the_folder_is_complete_in_itself(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    files = sorted(path.name for path in report.iterdir())
    assert files == ["index.html", "pictures"]
    with Image.open(report / "pictures" / "4.jpg") as picture:
        assert picture.format == "JPEG"
        assert max(picture.size) == 240


def test_a_browser_shows_it_from_disk(report: Path) -> None:
    page = dump_dom(f"{(report / 'index.html').as_uri()}#view=annotation&sort=worst")
    assert "<title>tiny &lt;test&gt;:" in page  # no script of a caption has changed it
    assert page.count("<article") == 30
    ranks = [int(rank) for rank in re.findall(r"rank (\d+)</span>", page)]
    assert ranks == sorted(ranks, reverse=True)
    data = content(report)
    assert ranks[0] == max(data["annotation"]["ranks"])
    assert "&lt;b&gt;bold&lt;/b&gt;.png" in page or "<b>" not in page
    page = dump_dom(f"{(report / 'index.html').as_uri()}#view=search&words=onerror")
    assert page.count("<article") == 1
    assert "onerror=alert(1)&gt;" in page
    assert 'aria-selected="true"' in page.split('id="tab-search"')[1][:120]


def test_the_command_writes_it_once(split: Split, model: VSE, tmp_path: Path, capsys) -> None:
    save_model(model, tmp_path / "model.ckpt")
    root = split.files.captions.parents[1]
    arguments = [
        f"checkpoint={tmp_path / 'model.ckpt'}",
        "data=custom",
        "data.name=tiny",
        f"paths.data_dir={root}",
        f"output={tmp_path / 'report'}",
    ]
    run(arguments)
    printed = capsys.readouterr()
    assert "rsum" in printed.out
    assert f"test, {IMAGES} images x {IMAGES * PER_IMAGE} captions, full gallery" in printed.out
    assert len(list((tmp_path / "report" / "pictures").iterdir())) == IMAGES // 2
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    assert ended.value.code == 1
    assert "overwrite=true" in capsys.readouterr().err
    run([*arguments, "overwrite=true", "k=1"])


def run(arguments: list[str]) -> None:
    before = sys.argv
    sys.argv = ["report", *arguments]
    try:
        main()
    finally:
        sys.argv = before


def test_a_folder_of_something_else_is_kept(split: Split, model: VSE, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"index.html is missing"):
        write_report(
            tmp_path,
            model,
            split,
            source="",
            about="",
            thumbnails=None,
            overwrite=True,
        )
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_histogram_counts_each_rank_once() -> None:
    ranks = np.array([0, 0, 1, 4, 5, 9, 10, 49, 50, 99, 100, 499, 500, 1000, 20_000])
    counts = dict(rank_counts(ranks))
    assert sum(counts.values()) == len(ranks)
    assert counts["1"] == 2
    assert counts["2–5"] == 2
    assert counts["6–10"] == 2
    assert counts["101–500"] == 2
    assert counts["10k+"] == 1
