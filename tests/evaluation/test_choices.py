"""Tests of choice: perturbations by hand, scores against loops, the forms of files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vse_exp.errors import UserError
from vse_exp.evaluation.choices import Question, answer_questions, order_tests, read_questions
from vse_exp.evaluation.perturbations import PERTURBATIONS, perturb

SAME_WORDS = ("words", "content_words", "within_trigrams", "pairs", "trigrams", "binding")
CAPTION = "a red dog on the left runs behind two white cats"


@given(st.integers(0, 1000))
def test_perturbations_keep_what_they_promise(seed: int) -> None:
    words = CAPTION.split()
    for name in PERTURBATIONS:
        (changed,) = perturb(name, [CAPTION], seed)
        assert changed is not None
        assert changed != CAPTION
        if name != "colours":  # those of two things may change places by chance
            assert (sorted(changed.split()) == sorted(words)) == (name in SAME_WORDS), name
    (changed,) = perturb("content_words", [CAPTION], seed)
    kept = [place for place, word in enumerate(words) if word in "a on the behind two left".split()]
    for place in kept:
        assert words[place] in ("two", "left") or changed.split()[place] == words[place]
    (changed,) = perturb("within_trigrams", [CAPTION], seed)
    for start in range(0, len(words), 3):
        part = slice(start, start + 3)
        assert sorted(changed.split()[part]) == sorted(words[part])
    (changed,) = perturb("pairs", [CAPTION], seed)
    pairs = [tuple(words[i : i + 2]) for i in range(0, len(words), 2)]
    again = changed.split()
    if len(words) % 2 == 0:
        assert sorted(tuple(again[i : i + 2]) for i in range(0, len(again), 2)) == sorted(pairs)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("binding", "a white dog on the left runs behind two red cats"),
        ("left_right", "a red dog on the right runs behind two white cats"),
        ("relations", "a red dog under the left runs in front of two white cats"),
    ],
)
def test_perturbations_by_hand(name: str, changed: str) -> None:
    assert perturb(name, [CAPTION]) == [changed]


def test_what_cannot_be_perturbed_is_left_out() -> None:
    assert perturb("words", ["dog dog", "dog"]) == [None, None]
    assert perturb("colours", ["a dog", "a red dog"])[0] is None
    assert perturb("binding", ["a red dog and a red cat"]) == [None]


VOCABULARY = {word: row for row, word in enumerate(sorted(set(CAPTION.split()) | {"blue", "cat"}))}


def bag(captions: list[str]) -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((len(VOCABULARY) + 1, 5)).astype("f4")
    return np.array(
        [sum(rows[VOCABULARY.get(word, -1)] for word in caption.split()) for caption in captions]
    )


def positions(captions: list[str]) -> np.ndarray:
    """A reader of one word: which word stands second."""
    return np.eye(len(VOCABULARY) + 1)[[VOCABULARY.get(c.split()[1], -1) for c in captions]]


def test_a_bag_of_words_ties_and_a_reader_does_not() -> None:
    captions = [CAPTION, "a white cat behind the red dog on the left"]
    mapping = np.array([0, 1])
    images = np.random.default_rng(1).standard_normal((2, 5)).astype("f4")
    found = order_tests(images, bag(captions), captions, mapping, bag)
    for name in SAME_WORDS:
        assert (found[name].accuracy, found[name].ties, found[name].n) == (0, 100, 2), name
    assert found["left_right"].ties == 0
    images = positions(captions)
    found = order_tests(images, positions(captions), captions, mapping, positions)
    assert (found["binding"].accuracy, found["binding"].ties) == (100, 0)
    assert (found["binding"].low, found["binding"].chance) == (100, 50)
    assert found["left_right"].ties == 100  # that word is not looked at


def test_questions_of_each_form(tmp_path: Path) -> None:
    images = {"a.jpg": 0, "b.jpg": 1}
    path = tmp_path / "swap_obj.json"
    entry = {"filename": "b.jpg", "caption": "a cat", "negative_caption": "a dog"}
    path.write_text(json.dumps({"0": entry, "1": entry | {"filename": "a.jpg"}}))
    assert read_questions(path, images) == [
        Question((1,), ("a cat",), ("a dog",)), Question((0,), ("a cat",), ("a dog",))
    ]  # fmt: skip
    path = tmp_path / "some.jsonl"
    lines = [
        {"image": "a.jpg", "caption": "a cat", "wrong": ["a dog", "two cats"]},
        {"image_0": "a.jpg", "image_1": "b.jpg", "caption_0": "x", "caption_1": "y"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_questions(path, images) == [
        Question((0,), ("a cat",), ("a dog", "two cats")), Question((0, 1), ("x", "y"))
    ]  # fmt: skip


SWAP = '{"7": {"filename": "z.jpg", "caption": "a", "negative_caption": "b"}}'


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.json", SWAP, "7: no image z.jpg"),
        ("x.json", '{"7": {"filename": "a.jpg", "caption": "a"}}', "7 is no question"),
        ("x.json", "[]", "holds no questions"),
        ("x.jsonl", '{"image": "a.jpg", "caption": 3, "wrong": ["b"]}', "line 1 is no question"),
        ("x.jsonl", '{"image": "a.jpg", "caption": "a", "wrong": []}', "line 1 is no question"),
    ],
)  # fmt: skip
def test_what_is_no_question(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        read_questions(tmp_path / name, {"a.jpg": 0})


def test_text_image_and_group_scores() -> None:
    random = np.random.default_rng(3)
    images = random.standard_normal((60, 4))
    vectors = {f"caption {row}": random.standard_normal(4) + images[row] / 2 for row in range(60)}
    names = list(vectors)
    pairs = [Question((i, i + 1), (names[i], names[i + 1])) for i in range(0, 60, 2)]
    single = [Question((i,), (names[i],), (names[i - 1], names[i - 2])) for i in range(60)]
    found = answer_questions(
        [*pairs, *single], images, lambda texts: np.array([vectors[text] for text in texts])
    )
    s = images @ np.array(list(vectors.values())).T
    text, picture = [], []
    for i in range(0, 60, 2):
        text.append(s[i, i] > s[i, i + 1] and s[i + 1, i + 1] > s[i + 1, i])
        picture.append(s[i, i] > s[i + 1, i] and s[i + 1, i + 1] > s[i, i + 1])
    group = [one and other for one, other in zip(text, picture, strict=True)]
    for name, expected in (("text", text), ("image", picture), ("group", group)):
        assert found[name].accuracy == pytest.approx(100 * np.mean(expected))
        assert found[name].low <= found[name].accuracy <= found[name].high
    right = [s[i, i] > max(s[i, i - 1], s[i, i - 2]) for i in range(60)]
    assert found["choices"].accuracy == pytest.approx(100 * np.mean(right))
    assert [round(found[name].chance, 1) for name in ("text", "group", "choices")] == [
        25,
        16.7,
        33.3,
    ]
