"""Looking inside: maps against scikit-learn's PCA, the right pairs, pages in a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from browser import FLAGS, chromium
from small_models import small_model
from vse_exp.data.layouts import load_split
from vse_exp.data.scenes import prepare_scenes
from vse_exp.errors import UserError
from vse_exp.pages.looking import chosen_pairs, draw_map, evenly
from vse_exp.pages.report import write_report
from vse_exp.retrieval.pictures import open_thumbnails
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import Vocabulary

random = np.random.default_rng(3)
IMAGES, CAPTIONS = random.normal(size=(20, 6)), random.normal(size=(50, 6))
OWNERS = np.sort(random.integers(0, 20, 50))


def test_a_map_is_the_plane_of_most_variance() -> None:
    drawn = draw_map(IMAGES, CAPTIONS, OWNERS, "pca")
    places = np.array(drawn["places"])
    reference = PCA(2).fit(np.concatenate([IMAGES, CAPTIONS]))
    expected = reference.transform(np.concatenate([IMAGES, CAPTIONS]))
    for axis in (0, 1):
        assert abs(np.corrcoef(places[:, axis], expected[:, axis])[0, 1]) == pytest.approx(
            1, abs=1e-5
        )
    assert f"{100 * reference.explained_variance_ratio_.sum():.0f} %" in drawn["about"]
    assert np.abs(places).max() == 1
    assert drawn["owners"] == OWNERS.tolist()


def test_a_map_of_many_takes_images_at_even_distances(monkeypatch) -> None:
    monkeypatch.setattr("vse_exp.pages.looking.MOST_IMAGES", 5)
    drawn = draw_map(IMAGES, CAPTIONS, OWNERS, "pca")
    assert drawn["image_rows"] == [0, 5, 10, 14, 19]
    owners = [drawn["image_rows"][one] for one in drawn["owners"]]
    assert owners == OWNERS[drawn["caption_rows"]].tolist()
    assert len(drawn["places"]) == 5 + len(owners)
    assert evenly(3, 0) == []
    assert evenly(0, 3) == []


@pytest.mark.slow  # its functions are compiled first
def test_umap_keeps_neighbours_together() -> None:
    pytest.importorskip("umap", reason="needs the extra `map`")
    two = np.concatenate([np.eye(2, 6)[[0]] + 0.01 * IMAGES, np.eye(2, 6)[[1]] + 0.01 * IMAGES])
    drawn = draw_map(two, two, np.arange(40), "umap")
    places = np.array(drawn["places"])[:40]
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert all((distances.argmin(1) < 20) == (np.arange(40) < 20))


def test_pairs_are_the_best_and_the_right_ones() -> None:
    results = {
        "annotation": {"items": [[2, 0], [2, 1]]},
        "search": {"items": [[0], [0], [1]]},
        "places": [3, 1, 1],
        "caption_image": [0, 0, 1],
    }
    assert chosen_pairs(results, 0) == set()
    # of image 0 the best caption is 2 and its own best 1; of caption 0 best and right image are 0
    assert chosen_pairs(results, 1) == {(0, 2), (0, 1), (0, 0)}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = prepare_scenes(tmp_path_factory.mktemp("cache"), 0, 1, 1, 12)
    split = load_split(SplitFiles.find(root, "scenes", "test"), "test")
    model = small_model(Vocabulary.build(split.captions), split.image_features.shape[1]).eval()
    model.provenance = {"backbone": "scenes"}
    output = tmp_path_factory.mktemp("report") / "report"
    thumbnails = open_thumbnails("scenes", split.image_names)
    write_report(output, model, split, source="scenes test", about="", thumbnails=thumbnails,
                 reasons=2, projection="pca")  # fmt: skip
    return output


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_work_and_are_accessible(report: Path, theme: str) -> None:
    program = chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    problems: list[str] = []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=list(FLAGS[1:]))
        page = browser.new_page(color_scheme=theme)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on(
            "request",
            lambda one: one.url.startswith(("file:", "data:")) or problems.append(one.url),
        )
        page.goto(f"{(report / 'index.html').as_uri()}#view=search&filter=reasons")
        page.locator(".why").first.click()
        page.wait_for_selector("#why[open] .word")
        assert page.locator("#why .regions i").count() == 64
        assert axe.Axe().run(page).violations_count == 0
        page.keyboard.press("Escape")
        assert axe.Axe().run(page).violations_count == 0
        page.get_by_text("A map of its images").click()
        page.fill("#words", "a")
        page.press("#words", "Enter")
        page.locator("#chosen li").first.wait_for()
        page.locator("#map").press("n")
        page.click("#closer")
        assert axe.Axe().run(page).violations_count == 0
        browser.close()
    assert problems == []


def test_umap_that_is_not_there_is_told(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(UserError, match=r"vse_exp\[map\]"):
        draw_map(IMAGES, CAPTIONS, OWNERS, "umap")
