"""Kinds of captions of two models side by side, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vse_exp.evaluation.groups import (
    Group,
    by_hubness,
    by_language,
    by_length,
    by_relation,
    by_word,
    table,
)

CAPTIONS = ["A dog runs", "a dog on sand", "a Dog in front of a dog", "cats", "狗 on the left"]
RANKS = np.array([0, 9, 10, 3, 0]), np.array([0, 0, 0, 99, 10])


def test_a_group_counts_first_and_found() -> None:
    rows = np.array([True, True, True, False, False])
    group = Group.of("word", "dog", RANKS, (rows, rows))
    assert group.n == (3, 3)
    assert group.first == (pytest.approx(100 / 3), 100)
    assert group.found == (pytest.approx(200 / 3), 100)
    assert group.gain == pytest.approx(100 / 3)


def test_words_are_counted_once_a_caption() -> None:
    groups = {group.name: group for group in by_word(CAPTIONS, RANKS, least=2)}
    assert list(groups) == ["a", "dog", "on"]
    assert groups["dog"].n == (3, 3)
    assert groups["on"].found == (100, 50)
    assert "狗" in {group.name for group in by_word(CAPTIONS, RANKS, least=1)}


def test_relations_of_one_word_and_of_several() -> None:
    groups = {group.name: group for group in by_relation(CAPTIONS, RANKS)}
    assert set(groups) == {"on", "in front of", "left"}
    assert groups["on"].n == (2, 2)
    assert groups["in front of"].first == (0, 100)


def test_lengths_cover_all_captions_once() -> None:
    groups = by_length(CAPTIONS, RANKS, parts=2)
    assert [(group.name, group.n) for group in groups] == [("1 to 3", (2, 2)), ("4 to 7", (3, 3))]
    (one,) = by_length(["a b", "c d"], (RANKS[0][:2], RANKS[1][:2]))
    assert (one.name, one.n) == ("2", (2, 2))


def test_languages_where_there_are_several() -> None:
    groups = by_language(["en", "en", "en", "en", "zh"], RANKS)
    assert [(group.name, group.n, group.found) for group in groups] == [
        ("en", (4, 4), (75, 75)),
        ("zh", (1, 1), (100, 0)),
    ]
    assert by_language(["en"] * 5, RANKS) == []


def test_an_image_is_a_hub_of_its_model() -> None:
    occurrence = np.array([0, 1, 5]), np.array([2, 2, 2])
    groups = by_hubness(occurrence, np.array([0, 0, 1, 2, 2]), RANKS)
    assert {group.name: group.n for group in groups} == {
        "never": (2, 0), "up to ½": (1, 0), "½ to 1": (0, 5), "1 to 2": (0, 0), "above 2": (2, 0)
    }  # fmt: skip


def test_rows_of_the_table() -> None:
    rows = list(table(by_language(["en", "en", "en", "en", "zh"], RANKS)))
    assert rows[0][-2:] == ["a_R@10", "b_R@10"]
    assert rows[2] == ["language", "zh", 1, 1, 100, 0, 100, 0]
