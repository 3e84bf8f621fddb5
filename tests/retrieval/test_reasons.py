"""Words and regions that count, against scores worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vse_exp.retrieval.reasons import CELLS, region_effects, split_words, word_effects
from vse_exp.similarity import Cosine, Order

WORDS = {"red": (1.0, 0.0), "dog": (0.0, 2.0), "a": (0.0, 0.0), "no": (-1.0, 0.0)}


def encode(sentences) -> np.ndarray:
    """The sum of the words' vectors, so that a word's effect is its product with the image."""
    rows = [np.sum([WORDS[word] for word in one.split()] or [(0, 0)], axis=0) for one in sentences]
    return np.array(rows, np.float32)


def test_a_word_counts_what_the_score_loses_without_it() -> None:
    images = np.array([[1, 0], [0.5, 1]], np.float32)
    words, effects = word_effects(encode, "a red dog no dog", images, Cosine())
    assert words == ["a ", "red ", "dog ", "no ", "dog"]
    assert effects.tolist() == [[0, 1, 0, -1, 0], [0, 0.5, 2, -0.5, 2]]


def test_a_word_can_speak_against_an_image() -> None:
    _, effects = word_effects(encode, "red dog", np.array([[1, 1]], np.float32), Order())
    # the caption [1, 2] is violated by 1 where the image is [1, 1]; without dog by nothing
    assert effects == pytest.approx(np.array([[0, -1]]))


@given(st.text(max_size=30))
def test_words_joined_are_the_sentence(sentence: str) -> None:
    assert "".join(split_words(sentence)) == sentence.lstrip()


def test_languages_without_spaces_go_by_characters() -> None:
    assert split_words("两只 dogs 狗") == ["两", "只 ", "dogs ", "狗"]


def test_a_region_counts_where_it_is_seen() -> None:
    """A model that sees the red of the upper left cell alone."""
    picture = Image.new("RGB", (80, 160), "black")
    picture.paste("red", (0, 0, 10, 20))

    def look(pictures) -> np.ndarray:
        reds = [np.asarray(one)[: one.height // 8, : one.width // 8, 0].mean() for one in pictures]
        return np.array([[red, 1] for red in reds], np.float32)

    captions = np.array([[1, 0], [0, 1]], np.float32)
    effects = region_effects(look, picture, captions, Cosine())
    mean = int(255 / CELLS**2)
    assert effects.shape == (2, CELLS, CELLS)
    # of the four cells of the only window that covers it, each is in 1, 2, 2 and 4 windows
    expected = np.zeros((CELLS, CELLS))
    expected[:2, :2] = (255 - mean) / np.array([[1, 2], [2, 4]])
    assert effects[0] == pytest.approx(expected)
    assert not effects[1].any()


def test_the_picture_stays_as_it_is() -> None:
    picture = Image.new("RGBA", (1000, 500), "white")
    sizes: list[tuple[int, int]] = []

    def look(pictures) -> np.ndarray:
        sizes.extend(one.size for one in pictures)
        return np.ones((len(pictures), 2), np.float32)

    region_effects(look, picture, np.ones((1, 2), np.float32), Cosine())
    assert picture.size == (1000, 500)
    assert set(sizes) == {(448, 224)}
