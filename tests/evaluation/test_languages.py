"""Languages by themselves and across, against loops over pairs."""

from __future__ import annotations

import numpy as np
import pytest

from vse_exp.evaluation.languages import by_language, translations

IMAGE = np.array([0, 0, 1, 1, 2, 2, 2, 3, 3])
LANGUAGES = ["en", "zh", "en", "zh", "en", "zh", "zh", "en", "en"]


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return unit(random.standard_normal((4, 3))), unit(random.standard_normal((len(IMAGE), 3)))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ranks(queries: np.ndarray, items: np.ndarray, query_image, item_image) -> list[int]:
    """How many wrong items score at least as much as the best right one."""
    found = []
    for scores, image in zip(queries @ items.T, query_image, strict=True):
        right = item_image == image
        found.append(int((scores[~right] >= scores[right].max()).sum()))
    return found


def test_each_language_is_a_gallery_of_its_own(rows) -> None:
    images, captions = rows
    found = by_language(images, captions, IMAGE, LANGUAGES)
    assert list(found) == ["en", "zh"]
    for language, shown in (("en", [0, 1, 2, 3]), ("zh", [0, 1, 2])):  # no Chinese for image 3
        own = np.array(LANGUAGES) == language
        search = ranks(captions[own], images[shown], IMAGE[own], np.array(shown))
        annotation = ranks(images[shown], captions[own], np.array(shown), IMAGE[own])
        assert found[language]["sMeanr"] == pytest.approx(np.mean(search) + 1)
        assert found[language]["aMeanr"] == pytest.approx(np.mean(annotation) + 1)
        assert found[language]["aR@1"] == pytest.approx(100 * np.mean(np.array(annotation) == 0))


def test_captions_find_those_of_the_same_image(rows) -> None:
    _, captions = rows
    found = translations(captions, IMAGE, LANGUAGES)
    en, zh = ((np.array(LANGUAGES) == name) & (IMAGE < 3) for name in ("en", "zh"))
    there = ranks(captions[en], captions[zh], IMAGE[en], IMAGE[zh])
    back = ranks(captions[zh], captions[en], IMAGE[zh], IMAGE[en])
    assert list(found) == ["en → zh", "zh → en"]
    assert found["en → zh"]["Meanr"] == pytest.approx(np.mean(there) + 1)
    assert found["zh → en"]["Meanr"] == pytest.approx(np.mean(back) + 1)
    assert found["zh → en"]["R@1"] == pytest.approx(100 * np.mean(np.array(back) == 0))


def test_nothing_across_where_it_has_no_meaning(rows) -> None:
    _, captions = rows
    assert translations(captions, IMAGE, LANGUAGES, similarity="order") == {}
    apart = ["en" if image < 2 else "zh" for image in IMAGE]
    assert translations(captions, IMAGE, apart) == {}
