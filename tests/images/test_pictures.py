"""Pictures by row: what evaluation and training see, memory, and repeatability."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vse_exp.errors import UserError
from vse_exp.images.augmentation import Augmentation
from vse_exp.images.pictures import PictureRows
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.sources import open_pictures

CROP = Preprocessing(resize=20, crop=16)
SQUASH = Preprocessing(resize=20, crop=16, view="squash")
NAMES = [f"{number}.png" for number in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(NAMES):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 41, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.mark.parametrize(
    "preprocessing", [CROP, SQUASH, *(replace(CROP, crop=c) for c in range(9, 20))]
)
@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
def test_evaluation_sees_what_extraction_sees(folder, preprocessing, cache_bytes):
    pictures = PictureRows.open(open_pictures(folder, NAMES), preprocessing, cache_bytes)
    assert (pictures.kept is not None) == (cache_bytes > 0)
    assert pictures.shape == (6, 3, preprocessing.crop, preprocessing.crop)
    rows = pictures.rows(np.array([4, 0]))
    assert rows.dtype == torch.uint8
    for row, name in zip(rows, ("4.png", "0.png"), strict=True):
        assert torch.equal(row, preprocessing.views_of(Image.open(folder / name))[0])
    assert torch.equal(pictures.rows(slice(0, 5))[4], rows[0])


def test_augmentation_follows_seed_and_batch_alone(folder):
    pictures = PictureRows.open(open_pictures(folder, NAMES), CROP)
    augmentation = Augmentation(scale=0.5, flip=0.5, colour=0.3)
    training = pictures.training(augmentation, seed=3)
    batch = np.array([1, 2, 5])
    torch.manual_seed(0)
    first = training.rows(batch)
    state = torch.get_rng_state()
    assert first.shape == (3, 3, 16, 16)
    torch.manual_seed(1)
    assert torch.equal(first, training.rows(batch))
    assert torch.equal(first, PictureRows.open(open_pictures(folder, NAMES), CROP, 0).training(
        augmentation, seed=3).rows(batch))  # fmt: skip
    assert not torch.equal(first, pictures.training(augmentation, seed=4).rows(batch))
    assert not torch.equal(first[0], training.rows(np.array([1, 2, 4]))[0])
    torch.manual_seed(0)
    training.rows(batch)
    assert torch.equal(torch.get_rng_state(), state)  # dropout elsewhere goes on undisturbed


def test_without_variation_training_sees_the_middle(folder):
    pictures = PictureRows.open(open_pictures(folder, NAMES), CROP)
    still = pictures.training(Augmentation(scale=1.0), seed=0)
    assert torch.equal(still.rows(np.arange(6)), pictures.rows(np.arange(6)))
    mirrored = pictures.training(Augmentation(scale=1.0, flip=1.0), seed=0)
    assert torch.equal(mirrored.rows(np.arange(6)), pictures.rows(np.arange(6)).flip(-1))


def test_a_picture_that_cannot_be_read(folder, tmp_path):
    (tmp_path / "0.png").write_bytes((folder / "0.png").read_bytes())
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"Cannot read the picture 1\.png .not an image"):
        PictureRows.open(open_pictures(tmp_path, NAMES[:2]), CROP)
    lazily = PictureRows.open(open_pictures(tmp_path, NAMES[:2]), CROP, cache_bytes=0)
    lazily.rows(np.array([0]))
    with pytest.raises(UserError, match=r"1\.png"):
        lazily.rows(np.array([1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, r"augmentation\.scale=0"),
        ({"flip": 2.0}, r"augmentation\.flip=2"),
        ({"stretch": 0.5}, r"augmentation\.stretch=0\.5"),
    ],
)
def test_impossible_augmentation(folder, options, message):
    pictures = PictureRows.open(open_pictures(folder, NAMES), CROP)
    with pytest.raises(UserError, match=message):
        pictures.training(Augmentation(**options), seed=0)


def test_ten_views_are_not_for_training(folder):
    with pytest.raises(UserError, match="ten_crop and mirror=true are for extraction"):
        PictureRows.open(open_pictures(folder, NAMES), Preprocessing(20, 16, view="ten_crop"))
