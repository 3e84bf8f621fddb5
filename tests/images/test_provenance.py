"""The record beside features, and what of it is compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vse_exp.errors import UserError
from vse_exp.images.computing import Settings
from vse_exp.images.encoding import backbone_of
from vse_exp.images.extraction import extract_features
from vse_exp.images.provenance import check_compatible, read_provenance
from vse_exp.images.sources import open_pictures
from vse_exp.split_files import SplitFiles

RECORD = {
    "backbone": "resnet50",
    "weights": "pretrained",
    "weights_sha256": "a" * 64,
    "transform": {"resize": 256, "crop": 224, "view": "crop"},
    "unit_norm": True,
    "dtype": "float16",
    "n_images": 8,
}


def test_names_of_files():
    of_split = SplitFiles.of_features(Path("d/f8k_train_ims.npy"))
    assert of_split.images == Path("d/f8k_train_images.txt")
    assert of_split.captions == Path("d/f8k_train_caps.txt")
    assert of_split.caption_ids == Path("d/f8k_train_caption_ids.txt")
    assert of_split.provenance == Path("d/f8k_train_features.json")
    assert SplitFiles.of_features(Path("d/feats.npy")).skipped == Path("d/feats_skipped.csv")


def test_equal_and_unknown_records_fit():
    assert check_compatible(RECORD, RECORD | {"dtype": "float32", "n_images": 5}) is None
    assert check_compatible(None, RECORD) is None
    assert check_compatible(RECORD, None) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone": "vgg19"}, "backbone resnet50 and vgg19"),
        ({"weights_sha256": "b" * 64}, "weights aaaaaaaaaaaa… and bbbbbbbbbbbb…"),
        ({"unit_norm": False}, "unit_norm True and False"),
        ({"transform": RECORD["transform"] | {"view": "frame"}}, "transform.view crop and squash"),
        ({"grid": 3}, "grid None and 3"),
    ],
)
def test_differences_are_told(change, told):
    sentence = check_compatible(RECORD, RECORD | change)
    assert sentence is not None
    assert told in sentence


def test_records_of_before_mirror_nothing():
    straight = RECORD | {"transform": RECORD["transform"] | {"mirror": False}}
    mirrored = RECORD | {"transform": RECORD["transform"] | {"mirror": True}}
    assert check_compatible(RECORD, straight) is check_compatible(straight, RECORD) is None
    for old in (RECORD, straight):
        assert "transform.mirror" in str(check_compatible(mirrored, old))


def test_reading(tmp_path):
    features = tmp_path / "x_ims.npy"
    assert read_provenance(features) is None
    record = SplitFiles.of_features(features).provenance
    record.write_text(json.dumps(RECORD))
    assert read_provenance(features) == RECORD
    for content in ("{", "[]", "{}"):
        record.write_text(content)
        with pytest.raises(UserError, match="extract"):
            read_provenance(features)


def test_the_backbone_of_a_record(photos, tmp_path):
    from vse_exp.images.backbones import build_backbone

    net = build_backbone("squeezenet1_1", "random", {"size": 32, "view": "frame"}, seed=3)
    extract_features(open_pictures(photos(2)), net, tmp_path / "x.npy", Settings())
    record = read_provenance(tmp_path / "x.npy")
    assert record is not None
    again = backbone_of(record)
    assert (again.preprocessing, again.weights_sha256) == (net.preprocessing, net.weights_sha256)
    with pytest.raises(UserError, match="are not those that the features were made with"):
        backbone_of(record | {"seed": 4})
