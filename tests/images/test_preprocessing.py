"""Views and normalisation against torchvision's transforms; the original's pipeline by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing

SIZES = [(40, 30), (30, 41), (33, 33), (20, 120), (7, 5)]


def noise(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_middle_crop_is_torchvisions(size, interpolation):
    image = noise(size)
    ours = Preprocessing(24, 17, interpolation).views_of(image)
    resized = F.resize(image, [24], InterpolationMode(interpolation))
    theirs = F.pil_to_tensor(F.center_crop(resized, [17, 17]))
    assert torch.equal(ours[0], theirs)


@pytest.mark.parametrize("size", SIZES)
def test_ten_crops_are_torchvisions(size):
    image = noise(size)
    ours = Preprocessing(24, 17, view="ten_crop").views_of(image)
    theirs = F.ten_crop(F.resize(image, [24]), [17, 17])
    assert torch.equal(ours, torch.stack([F.pil_to_tensor(view) for view in theirs]))


def test_the_whole_is_squeezed_into_the_square():
    image = noise((40, 30))
    ours = Preprocessing(99, 20, "bicubic", view="squash").views_of(image)
    squeezed = image.resize((20, 20), Image.Resampling.BICUBIC)
    assert torch.equal(ours[0], F.pil_to_tensor(squeezed))


def test_normalisation_is_torchvisions():
    pixels = F.pil_to_tensor(noise((8, 8)))[None]
    ours = Preprocessing(8, 8).normalize(pixels)
    means, deviations = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    torch.testing.assert_close(ours, F.normalize(pixels / 255, means, deviations))


def test_blue_first():
    pixels = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1)
    original = Preprocessing(8, 8, mean=(123.68, 116.779, 103.939), std=(1, 1, 1), bgr=True)
    expected = torch.tensor([30 - 103.939, 20 - 116.779, 10 - 123.68]).view(3, 1, 1)
    torch.testing.assert_close(original.normalize(pixels), expected)


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1)])
def test_strips_do_not_explode(size):
    views = Preprocessing(256, 224).views_of(Image.new("RGB", size))
    assert views.shape == (1, 3, 224, 224)


def test_changes():
    plain = Preprocessing(256, 224)
    assert plain.changed({}) == plain.changed({"size": None}) == plain
    smaller = plain.changed({"size": 112, "mean": 127, "std": [128, 128, 128]})
    assert (smaller.resize, smaller.crop) == (128, 112)
    assert smaller.mean == (127.0,) * 3
    assert Preprocessing.from_dict(smaller.to_dict()) == smaller


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interpolation": "cubic"}, "transform.interpolation=cubic"),
        ({"view": "five"}, "view=five"),
        ({"view": "ten_crop", "mirror": True}, "mirrored views already"),
        ({"crop": 300}, "transform.crop=300"),
        ({"resize": 100_000}, "must not pass 4096"),
        ({"std": 0}, "above zero"),
        ({"mean": [0.485, 0.456, 0.406], "std": 0.2}, "multiply"),
        ({"mean": [1, 2]}, "transform.mean"),
        ({"centre": 1}, "Unknown key transform.centre"),
    ],
)
def test_impossible_changes(changes, message):
    with pytest.raises(UserError, match=message):
        Preprocessing(256, 224).changed(changes)


def test_the_former_name_of_squash_still_works():
    assert Preprocessing(99, 20, view="frame") == Preprocessing(99, 20, view="squash")
    assert Preprocessing(99, 20).changed({"view": "frame"}).view == "squash"
