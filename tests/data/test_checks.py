"""What is wrong with dev or test is told before training begins, not after it."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import configuration, random_features, write_dataset
from vse_exp.errors import UserError
from vse_exp.training.fit import train


@pytest.mark.parametrize(
    ("split", "damage", "message"),
    [
        ("test", "inf", r"tiny_test_ims\.npy row 3 holds NaN or Inf"),
        ("test", "missing", r"No feature file .*tiny_test_ims\.npy"),
        ("dev", "width", r"tiny_dev_ims\.npy has rows of shape \(7,\)"),
        ("test", "header", r"tiny_test_ims\.npy is no complete \.npy file"),
    ],
)
def test_before_the_first_update(tmp_path, split, damage, message):
    root = write_dataset(tmp_path / "data")
    path = root / "tiny" / f"tiny_{split}_ims.npy"
    features = np.load(path)
    if damage == "inf":
        features[3, 1] = np.inf
    np.save(path, random_features(len(features), dim=7) if damage == "width" else features)
    if damage == "missing":
        path.unlink()
    if damage == "header":
        content = bytearray(path.read_bytes())
        content[14] ^= 1
        path.write_bytes(content)
    updates: list[int] = []
    cfg = configuration(root, tmp_path / "run", "max_epochs=1", "valid_freq=1")
    with pytest.raises(UserError, match=message):
        train(cfg, report=lambda step, rsum: updates.append(step))
    assert updates == []


def test_one_image_with_one_caption_is_a_split(tmp_path):
    """As small as a split can be."""
    root = write_dataset(tmp_path / "data")
    for split in ("dev", "test"):
        (root / "tiny" / f"tiny_{split}_caps.txt").write_text("a dog runs\n")
        np.save(root / "tiny" / f"tiny_{split}_ims.npy", random_features(1))
    results = train(configuration(root, tmp_path / "run", "max_epochs=1"))
    assert results["test"]["aR@1"] == 100
