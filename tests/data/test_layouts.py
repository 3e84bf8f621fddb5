from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import random_captions, random_features
from vse_exp.data.layouts import Split, load_split
from vse_exp.errors import UserError
from vse_exp.images.features import ImageFeatures, check_rows
from vse_exp.split_files import SplitFiles


def write(
    folder: Path,
    stem: str,
    captions: list[str],
    features: np.ndarray,
    images: list[str] | None = None,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}_caps.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
    np.save(folder / f"{stem}_ims.npy", features)
    if images is not None:
        (folder / f"{stem}_images.txt").write_text("\n".join(images) + "\n", encoding="utf-8")


def read(root: Path, name: str = "d", split: str = "train", **options) -> Split:
    return load_split(SplitFiles.find(root, name, split), split, **options)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("per_image", [5, 3])
def test_original_layout_stores_repeated_rows_once(tmp_path, dtype, per_image):
    rows = random_features(4).astype(dtype)
    write(tmp_path / "d", "d_train", random_captions(4 * per_image), rows.repeat(per_image, 0))
    split = read(tmp_path)
    assert split.image_features.shape == (4, 12)
    assert split.caption_image.tolist() == np.arange(4).repeat(per_image).tolist()
    assert split.image_features.rows(np.array([2, 0])).numpy() == pytest.approx(
        rows[[2, 0]].astype(np.float32)
    )
    assert isinstance(split.image_features.array, np.memmap)
    loaded = read(tmp_path, in_memory=True).image_features.array
    assert not isinstance(loaded, np.memmap)
    assert loaded.nbytes == rows.nbytes
    assert split.unit_norm


def test_one_row_an_image_contiguous_and_vsepp_folders(tmp_path):
    write(tmp_path / "d", "d_dev", random_captions(12), random_features(4), list("wxyz"))
    split = read(tmp_path, split="dev")
    assert split.caption_image.tolist() == np.arange(4).repeat(3).tolist()
    assert split.image_names == list("wxyz")
    write(tmp_path / "coco_precomp", "testall", random_captions(20), random_features(4))
    assert read(tmp_path, "coco", "testall").caption_image.max() == 3
    write(tmp_path / "own", "train", random_captions(4), random_features(4))
    assert read(tmp_path, "own").caption_image.tolist() == [0, 1, 2, 3]


def test_any_number_of_captions_by_name(tmp_path):
    names = ["b.jpg", "a.jpg", "b.jpg", "c.jpg", "a.jpg", "b.jpg", "b.jpg"]
    write(tmp_path / "d", "d_train", random_captions(7), random_features(3), names)
    split = read(tmp_path)
    assert split.image_names == ["b.jpg", "a.jpg", "c.jpg"]
    assert split.caption_image.tolist() == [0, 1, 0, 2, 1, 0, 0]


def test_files_by_keys(tmp_path):
    write(tmp_path, "x", random_captions(6), random_features(3))
    keys = {"captions": str(tmp_path / "x_caps.txt"), "features": str(tmp_path / "x_ims.npy")}
    split = load_split(SplitFiles.named(keys, "dev"), "dev")
    assert len(split.captions) == 6
    beside = SplitFiles.named({"captions": keys["captions"], "features": None}, "dev")
    assert beside.features == tmp_path / "x_ims.npy"
    with pytest.raises(UserError, match=r"data.files.dev.captions is not set"):
        SplitFiles.named({"features": keys["features"]}, "dev")
    with pytest.raises(UserError, match=r"No file nowhere.npy \(data.files.dev.features\)"):
        SplitFiles.named({**keys, "features": "nowhere.npy"}, "dev")


def test_region_features(tmp_path):
    regions = random_features(8).reshape(4, 2, 12)
    write(tmp_path / "d", "d_train", random_captions(8), regions)
    features = read(tmp_path).image_features
    assert features.shape == (4, 2, 12)
    assert features.rows(slice(0, 3)).shape == (3, 2, 12)


def test_normalisation_on_demand():
    array = random_features(5) * 3
    features = ImageFeatures(array, normalize=True)
    norms = features.rows(np.arange(5)).norm(dim=1).numpy()
    assert norms == pytest.approx(np.ones(5), abs=1e-6)
    (block,) = features.blocks()
    assert block.numpy() == pytest.approx(array / 3, abs=1e-6)
    assert not check_rows(array, "f.npy")


def broken(tmp_path: Path, case: str) -> Path:
    """A data set `d` with one thing wrong."""
    captions, rows = random_captions(8), random_features(4)
    images = None
    if case == "caption line":
        captions[2] = "   "
    elif case == "numbers":
        captions = captions[:7]
    elif case == "NaN":
        rows[3, 5] = np.nan
    elif case == "zero":
        rows[1] = 0
    elif case == "dtype":
        rows = (rows * 100).astype(np.int32)
    elif case == "shape":
        rows = rows[0]
    elif case == "names":
        images = ["a", "b"]
    elif case == "irregular":
        rows = rows[[0, 0, 1, 2, 2, 2, 3, 3]]
    write(tmp_path / "d", "d_train", captions, rows, images)
    features = tmp_path / "d" / "d_train_ims.npy"
    if case == "truncated":
        features.write_bytes(features.read_bytes()[:-40])
    elif case == "no features":
        features.unlink()
    elif case == "encoding":
        (tmp_path / "d" / "d_train_caps.txt").write_bytes(b"ok\nna\xefve\n")
    elif case == "empty":
        (tmp_path / "d" / "d_train_caps.txt").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("caption line", r"d_train_caps.txt line 3 is empty"),
        ("numbers", r"has 4 rows and .* has 7 captions"),
        ("NaN", r"d_train_ims.npy row 3 holds NaN or Inf"),
        ("zero", r"d_train_ims.npy row 1 is all zero"),
        ("dtype", r"holds int32, and features are float16, float32 or float64"),
        ("shape", r"has shape \(12,\)"),
        ("names", r"d_train_images.txt has 2 lines, and there are 4 images"),
        ("irregular", r"rows 0 and 1 are equal but the repeats are not regular"),
        ("truncated", r"d_train_ims.npy is no complete .npy file"),
        ("no features", r"No feature file .*d_train_ims.npy"),
        ("encoding", r"d_train_caps.txt line 2 is not UTF-8"),
        ("empty", r"d_train_caps.txt is empty"),
    ],
)
def test_mistakes_are_told_in_one_sentence(tmp_path, case, message):
    with pytest.raises(UserError, match=message) as raised:
        read(broken(tmp_path, case))
    assert "\n" not in str(raised.value)


def test_missing_data_set_says_where_it_looked(tmp_path):
    with pytest.raises(UserError, match=r"d/d_train_caps.txt.*d_precomp/train_caps.txt.*VSE_DATA"):
        read(tmp_path)


def test_captions_per_image_settles_and_is_checked(tmp_path):
    write(tmp_path / "d", "d_train", random_captions(4), random_features(2).repeat(2, 0))
    assert read(tmp_path).image_features.shape == (2, 12)
    assert read(tmp_path, captions_per_image=1).image_features.shape == (4, 12)
    with pytest.raises(UserError, match="not equal in groups of 4"):
        read(tmp_path, captions_per_image=4)


def test_real_flickr8k(real_data):
    split = load_split(SplitFiles.find(real_data, "f8k", "dev"), "dev")
    assert (len(split.captions), split.image_features.shape) == (5000, (1000, 1280))
    assert split.unit_norm
    assert split.image_names is not None
    assert len(split.image_names) == 1000
