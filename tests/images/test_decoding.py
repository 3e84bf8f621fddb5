"""Every kind of picture file is read upright as RGB, or refused with a reason."""

from __future__ import annotations

import contextlib
import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vse_exp.images.decoding import (
    UnreadableImage,
    decode_image,
    is_picture_name,
    read_image_file,
    to_rgb,
)


def test_odd_files_are_read(good):
    for name, content in good.items():
        image = decode_image(content)
        assert image.mode == "RGB", name
        assert image.width > 0, name


def test_damaged_and_hostile_files_are_refused(bad):
    for name, (content, reason) in bad.items():
        with pytest.raises(UnreadableImage) as caught:
            decode_image(content)
        assert re.search(reason, str(caught.value)), f"{name}: {caught.value}"


def test_the_colours_survive(good):
    plain = np.asarray(decode_image(good["picture.bmp"]), dtype=int)
    # values are those of the same picture, but for what each format loses
    for name, most in [("really_a_png.jpg", 0), ("plain.jpg", 20), ("cmyk.jpg", 40)]:
        assert np.abs(np.asarray(decode_image(good[name]), dtype=int) - plain).mean() <= most / 4
    first_frame = np.asarray(decode_image(good["animated.png"]), dtype=int)
    assert np.array_equal(first_frame, plain)


def test_sixteen_bits_and_floats_are_scaled_and_not_cut_off(good):
    grey = np.asarray(decode_image(good["picture.bmp"]).convert("L"), dtype=int)
    for name in ("grey16.png", "float.tif", "int32.tif"):
        values = np.asarray(decode_image(good[name]), dtype=int)
        assert np.abs(values - grey[..., None]).max() <= 1, name
    colours = np.asarray(decode_image(good["rgb16.png"]))[0].ravel()
    assert np.abs(colours - np.arange(0, 60000, 5000) / 257).max() <= 1


def test_transparency_lies_over_white(good):
    clear = Image.new("RGBA", (2, 2), (200, 0, 0, 0))
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert to_rgb(clear).getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(half).getpixel((0, 0)) == pytest.approx((127, 127, 127), abs=1)
    # a picture of half the colour is brighter than the whole
    assert (
        np.asarray(decode_image(good["rgba.png"])).mean()
        > np.asarray(decode_image(good["picture.bmp"])).mean()
    )


def test_pictures_are_turned_upright(good):
    upright, turned = decode_image(good["plain.jpg"]), decode_image(good["turned.jpg"])
    assert turned.size == upright.size[::-1]
    assert np.array_equal(
        np.asarray(turned), np.asarray(upright.transpose(Image.Transpose.ROTATE_270))
    )


def test_own_limit_of_pixels(good):
    with pytest.raises(UnreadableImage, match="40x30 pixels, more than the 1000 allowed"):
        decode_image(good["plain.jpg"], max_pixels=1000)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (lambda path: path.write_bytes(b""), "empty file"),
    ],
    ids=["missing", "folder", "pipe", "dangling link", "empty"],
)
def test_what_is_no_file_is_refused_without_waiting(tmp_path, make, reason):
    path = tmp_path / "picture.jpg"
    make(path)
    with pytest.raises(UnreadableImage, match=reason):
        read_image_file(path)


def test_large_files_are_refused_unread(tmp_path):
    path = tmp_path / "picture.jpg"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a hole of a terabyte
    with pytest.raises(UnreadableImage, match="more than"):
        read_image_file(path)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_flipped_bytes_never_raise_anything_else(good, data):
    name = data.draw(st.sampled_from(["plain.jpg", "palette.png", "animated.gif", "animated.webp"]))
    content = bytearray(good[name])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableImage):
        assert decode_image(bytes(content), max_pixels=1_000_000).mode == "RGB"


def test_names_of_pictures():
    assert is_picture_name("a/b/PHOTO.JPG")
    assert not is_picture_name("a/.hidden.jpg")
    assert not is_picture_name("notes.txt")
