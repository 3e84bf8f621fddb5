"""Cleaning, splits and the files written, by hand-worked cases and properties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vse_exp.data.annotations import (
    Annotations,
    Reading,
    Record,
    assign_fractions,
    assign_lists,
    gather,
    write_splits,
)
from vse_exp.data.annotations.records import clean, split_name
from vse_exp.errors import UserError


def reading(*records: tuple) -> Reading:
    return Reading("source", "table", [Record(*record) for record in records])


def test_cleaning():
    assert clean("  A\u00a0dog\r\n runs\u2028fast\t ") == "A dog runs fast"
    assert clean("e\u0301te\u0301") == "\u00e9t\u00e9"  # composed
    assert clean(" \n\u3000") == ""
    assert clean("a \ud800 dog") == "a dog"  # half of a surrogate pair, as JSON may have it


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40))
def test_cleaned_captions_are_one_line_and_stay(text):
    once = clean(text)
    assert len(once.splitlines()) <= 1
    assert clean(once) == once


def test_gathering_keeps_the_order_and_counts():
    annotations = gather(
        [
            reading(("b", "Two"), ("a", "One"), ("b", " "), ("b", "Two"), ("c", "")),
            reading(("a", "Three")),
        ]
    )
    assert annotations.captions == {"b": ["Two", "Two"], "a": ["One", "Three"]}
    assert list(annotations) == ["b", "a"]
    assert (annotations.n_empty, annotations.n_duplicate) == (2, 1)


def test_ids_go_with_their_captions(tmp_path):
    """Through empty captions, pictures in turn, new names and pictures left out."""
    records = [
        ("b", "Two", "test", 7), ("a", "One", "test", 3), ("b", " ", "test", 8),
        ("c", "Gone", "test", 5), ("b", "Four", "test", 9), ("d", "Mine", "train", None),
    ]  # fmt: skip
    annotations = gather([reading(*records, ("d", "Other", "train", 6))])
    annotations.rename({"a": "x", "b": "y", "d": "z"})
    old = tmp_path / "mine_train_caption_ids.txt"
    old.write_text("1\n2\n")
    write_splits(annotations, tmp_path, "mine", str, overwrite=True)
    assert (tmp_path / "mine_test_caps.txt").read_text() == "Two\nFour\nOne\n"
    assert (tmp_path / "mine_test_images.txt").read_text() == "y\ny\nx\n"
    assert (tmp_path / "mine_test_caption_ids.txt").read_text() == "7\n9\n3\n"
    assert not old.exists()  # not all captions have one


def test_a_picture_in_two_splits():
    with pytest.raises(UserError, match="image a is in the splits train and dev"):
        gather([reading(("a", "One", "train"), ("a", "Two", "val"))])


@pytest.mark.parametrize(
    ("given_name", "name"),
    [("VAL", "dev"), ("restval", "train"), (None, None), (" ", None), ("test_2", "test_2")],
)
def test_split_names(given_name, name):
    assert split_name(given_name) == name


def test_a_split_name_that_leaves_the_folder():
    with pytest.raises(UserError, match=r"split name '\.\./x'"):
        split_name("../x")


def named(count: int) -> Annotations:
    return gather([reading(*((f"{number:03d}", "x") for number in range(count)))])


def test_fractions_are_drawn_by_names_and_seed():
    one, two, other = named(100), named(100), named(100)
    two.captions = dict(reversed(two.captions.items()))
    for drawn, seed in ((one, 0), (two, 0), (other, 1)):
        assign_fractions(drawn, {"dev": 0.1, "test": 0.25}, seed)
    splits = list(one.splits.values())
    assert [splits.count(name) for name in ("train", "dev", "test")] == [65, 10, 25]
    assert one.splits == two.splits != other.splits
    few = named(5)
    assign_fractions(
        few, {"dev": 0.1, "test": 0.1, "rest": 0.0}, 0
    )  # none would be nothing to judge by
    assert sorted(few.splits.values()) == ["dev", "test", "train", "train", "train"]


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"dev": 1.0}, "must each lie"),
        ({"dev": 0.5, "test": 0.5}, "leave something"),
        ({"dev": 0.9, "test": 0.09}, "10 pictures are too few for dev, test and something"),
    ],
)
def test_impossible_fractions(fractions, message):
    with pytest.raises(UserError, match=message):
        assign_fractions(named(10), fractions, 0)


def test_lists_leave_out_what_they_do_not_name():
    annotations = named(3)
    assert assign_lists(annotations, {"002": "test", "000": "train", "999": "dev"}) == ["001"]
    assert annotations.splits == {"000": "train", "002": "test"}
    with pytest.raises(UserError, match="None of the 1 pictures of the split lists"):
        assign_lists(named(3), {"x": "dev"})


def test_a_line_a_picture_where_all_have_equally_many_captions(tmp_path):
    annotations = gather(
        [
            reading(
                ("a", "One", "train"), ("b", "Two", "train"), ("a", "Three", "train"),
                ("b", "Four", "train"), ("c", "Five", "dev"), ("d", "Six", "dev"),
                ("d", "Seven", "dev"),
            )
        ]
    )  # fmt: skip
    written = write_splits(annotations, tmp_path / "n", "n", str.lower)
    assert [(s.name, s.n_images, s.n_captions, s.fewest, s.most) for s in written] == [
        ("train", 2, 4, 2, 2),
        ("dev", 2, 3, 1, 2),
    ]
    text = {path.name: path.read_text() for path in (tmp_path / "n").iterdir()}
    assert text == {
        "n_train_caps.txt": "one\nthree\ntwo\nfour\n",
        "n_train_images.txt": "a\nb\n",
        "n_dev_caps.txt": "five\nsix\nseven\n",
        "n_dev_images.txt": "c\nd\nd\n",
    }
    write_splits(annotations, tmp_path / "n", "n", str.lower)  # the same again
    with pytest.raises(UserError, match="with other content: overwrite=true"):
        write_splits(annotations, tmp_path / "n", "n", str.upper)
    assert (tmp_path / "n/n_dev_caps.txt").read_text() == "five\nsix\nseven\n"
    write_splits(annotations, tmp_path / "n", "n", str.upper, overwrite=True)
    assert (tmp_path / "n/n_dev_caps.txt").read_text() == "FIVE\nSIX\nSEVEN\n"
