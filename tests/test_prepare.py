"""The command `prepare`, and the way from raw annotations to a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from commands import run_command
from conftest import contents
from vse_exp import prepare
from vse_exp.cli import config_dir
from vse_exp.data import load_split
from vse_exp.data.annotations import preparing
from vse_exp.data.annotations.preparing import prepare_from_config
from vse_exp.errors import UserError
from vse_exp.images.jobs import extract_from_config
from vse_exp.split_files import SplitFiles


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "Flicker8k_Dataset"
    folder.mkdir(parents=True)
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """Ten pictures, of which two have no file; picture 3 has one caption, the others two."""
    lines = ["image,caption"]
    lines += [f'{number}.png,"Dog {number}, it isn\'t red."' for number in range(10)]
    lines += [f"{number}.png,Cat {number}" for number in range(10) if number != 3]
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*lines, "5.png,"]) + "\n")
    return path


def run(*overrides: str, verb: str = "prepare") -> list:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config: Any = OmegaConf.to_container(compose(verb, list(overrides)))
    if verb == "extract":
        return extract_from_config(config)
    prepared = prepare_from_config(config)
    if prepared is None:  # other shares are missing
        return []
    prepared.tell()
    return prepared.splits


def test_counts_and_what_is_left_out(captions, photos, tmp_path, capsys):
    written = run(
        f"source={captions}",
        f"images={photos}",
        f"output={tmp_path}/data",
        "name=mine",
        "fractions.dev=0.25",
        "fractions.test=0.25",
    )
    assert [(split.name, split.n_images) for split in written] == [
        ("train", 4),
        ("dev", 2),
        ("test", 2),
    ]
    assert sum(split.n_captions for split in written) == 15
    told = capsys.readouterr().out
    assert "2 pictures not found" in told
    assert "1 empty captions" in told
    listed = (tmp_path / "data/mine/mine_left_out.txt").read_text()
    assert listed == "pictures not found: 8.png\npictures not found: 9.png\n"
    names = (tmp_path / "data/mine/mine_train_images.txt").read_text().split()
    assert all(name.startswith("Flicker8k_Dataset/") for name in names)


def test_official_splits_beside_the_captions(tmp_path):
    source = tmp_path / "Flickr8k_text"
    source.mkdir()
    lines = [f"{name}.jpg#{n}\tCaption {n} of {name} .\n" for name in "abcd" for n in range(2)]
    (source / "Flickr8k.token.txt").write_text("".join(lines))
    (source / "Flickr_8k.trainImages.txt").write_text("b.jpg\na.jpg\n")
    (source / "Flickr_8k.testImages.txt").write_text("c.jpg\n")
    written = run(f"source={source}", f"output={tmp_path}/data", "name=f8k")
    assert [(split.name, split.n_images, split.n_captions) for split in written] == [
        ("train", 2, 4),
        ("test", 1, 2),
    ]
    folder = tmp_path / "data/f8k"
    assert (folder / "f8k_train_images.txt").read_text() == "a.jpg\nb.jpg\n"
    assert (folder / "f8k_left_out.txt").read_text() == "pictures in no split: d.jpg\n"
    written = run(
        f"source={source}",
        f"output={tmp_path}/data",
        "name=own",
        f"splits.dev={source}/Flickr_8k.testImages.txt",
    )
    assert [(split.name, split.n_images) for split in written] == [("dev", 1)]


def test_treebank_tokens_and_excluded_pictures(captions, tmp_path):
    skipped = tmp_path / "skipped.csv"
    skipped.write_text("image,reason\n0.png,damaged\n")
    run(
        f"source={captions}",
        f"output={tmp_path}/data",
        "name=mine",
        "tokenize=ptb",
        f"exclude={skipped}",
        "fractions.dev=0",
        "fractions.test=0",
    )
    text = (tmp_path / "data/mine/mine_train_caps.txt").read_text().splitlines()
    assert text[:2] == ["dog 1 , it is n't red .", "cat 1"]


def test_from_raw_files_to_a_split_that_trains(captions, photos, tmp_path):
    """prepare, then extract; the row of each caption is that of its picture."""
    data = tmp_path / "data"
    run(f"source={captions}", f"images={photos}", f"output={data}", "name=mine", "seed=1",
        "fractions.dev=0.25", "fractions.test=0.25")  # fmt: skip
    net = ["backbone=squeezenet1_1", "weights=random", "transform.size=32", "num_workers=0"]
    run(f"images={photos}", f"output={data}/mine", *net, verb="extract")
    run(f"images={photos}", f"output={tmp_path}/all.npy", *net, verb="extract")
    rows = np.load(tmp_path / "all.npy")
    for name in ("train", "dev", "test"):
        split = load_split(SplitFiles.find(data, "mine", name), name)
        assert split.image_names is not None
        for caption, row in zip(split.captions, split.caption_image, strict=True):
            number = int(caption.split()[1].rstrip(","))
            assert split.image_names[row] == f"Flicker8k_Dataset/{number}.png"
            own = split.image_features.rows(np.array([row]))[0].numpy()
            np.testing.assert_allclose(own, rows[number], atol=2e-3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tokenize=words"], "Unknown tokenize=words"),
        (["images=EMPTY"], "No pictures in the folder"),
        (["images=OTHER"], "None of the 10 annotated pictures"),
        (["format=karpathy"], "read from a .json file"),
        (["splits.dev=lost.txt"], "No file lost.txt"),
    ],
)
def test_mistakes(captions, tmp_path, overrides, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.png").touch()
    names = {"EMPTY": f"{tmp_path}/empty", "OTHER": f"{tmp_path}/other"}
    for short, path in names.items():
        overrides = [override.replace(short, path) for override in overrides]
    with pytest.raises(UserError, match=message):
        run(f"source={captions}", f"output={tmp_path}/data", "name=mine", *overrides)


def test_the_pictures_that_were_named_are_found_again(captions, photos, tmp_path):
    """All commands look beside the captions, where `images` leads to them."""
    data = tmp_path / "data"
    keys = [f"source={captions}", f"images={photos}", f"output={data}", "name=mine"]
    run(*keys)
    place = SplitFiles.find(data, "mine", "train").find_pictures("train")
    assert place == str(photos)
    other = tmp_path / "moved"
    photos.rename(other)
    run(*keys[:1], f"images={other}", *keys[2:])
    assert SplitFiles.find(data, "mine", "train").find_pictures("train") == str(other)


def test_a_full_disk_leaves_all_as_it_was(captions, tmp_path):
    """The last of the files has no room: the first is not replaced either."""
    keys = [f"source={captions}", f"output={tmp_path}/data", "name=mine", "overwrite=true"]
    run(*keys)
    folder = tmp_path / "data/mine"
    (folder / "mine_test_images.txt").unlink()
    (folder / "mine_test_images.txt").symlink_to("/dev/full")
    before = (folder / "mine_train_caps.txt").read_text()
    with pytest.raises(UserError, match="No space left on device"):
        run(*keys, "seed=5")
    assert (folder / "mine_train_caps.txt").read_text() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_languages_are_written_beside_the_captions(tmp_path):
    source = tmp_path / "captions.txt"
    source.write_text("".join(f"{n}.jpg#zhc#{k} 狗{n}{k}\n" for n in range(9) for k in range(2)))
    keys = f"source={source}", f"output={tmp_path}", "fractions.dev=0.3", "fractions.test=0.3"
    run(*keys, "name=cn")
    assert (tmp_path / "cn" / "cn_dev_languages.txt").read_text() == "zhc\n" * 6
    run(*keys, "name=cn", "language=zh", "overwrite=true")
    assert (tmp_path / "cn" / "cn_dev_languages.txt").read_text() == "zh\n" * 6
    source.write_text("".join(f"{n}.jpg#{k}\tdog\n" for n in range(9) for k in range(2)))
    run(*keys, "name=cn", "overwrite=true")
    assert not (tmp_path / "cn" / "cn_dev_languages.txt").exists()


def test_shares_of_annotations_are_the_bytes_of_one_run(photos, captions, tmp_path, monkeypatch):
    """Of three files, one of which cannot be read at first; the others are read once."""
    for name in "bc":
        (tmp_path / f"{name}.csv").write_text(
            f"image,caption\n0.png,{name} can't\n7.png,,\n,{name}\n11.png,{name}\n"
        )
    keys = (
        f"source=[{captions},{tmp_path}/b.csv,{tmp_path}/c.csv]", "name=mine", "tokenize=ptb",
        f"images={photos}/Flicker8k_Dataset",
    )  # fmt: skip
    run(*keys, f"output={tmp_path}/one")
    seen: list[str] = []
    reader = preparing.read_annotations

    def failing_once(path: Path, *rest: Any) -> Any:
        seen.append(path.name)
        if seen == ["b.csv", "c.csv"]:
            raise UserError("the disk is away")
        return reader(path, *rest)

    monkeypatch.setattr(preparing, "read_annotations", failing_once)
    many = (*keys, f"output={tmp_path}/many")
    with pytest.raises(UserError, match="away"):
        run(*many, "shard=1/2")
    assert run(*many, "shard=1/2") == []
    assert run(*many, "shard=1/2") == []
    assert run(*many, "shard=0/2") != []
    assert seen == ["b.csv", "c.csv", "c.csv", "captions.txt"]
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert [path.name for path in (tmp_path / "many").iterdir()] == ["mine"]


def test_a_data_set_of_a_hub(photos, tmp_path, monkeypatch):
    """A folder of Parquet files with pictures inside, to features: splits by the files' names, a
    row a caption, and a path that would lead out of the folder."""
    pytest.importorskip("datasets", reason="needs the extra `hub`")
    from pyarrow import table
    from pyarrow.parquet import write_table

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    hub = tmp_path / "hub"
    hub.mkdir()
    files = sorted((photos / "Flicker8k_Dataset").glob("*.png"))
    for split, chosen in (("train", files[:5]), ("validation", files[5:6]), ("test", files[6:])):
        rows = [(f"../{file.name}", file.read_bytes(), i) for file in chosen for i in range(2)]
        write_table(
            table({
                "image": [{"path": path, "bytes": content} for path, content, _ in rows],
                "caption": [f"caption {i} of {path[3:]}" for path, _, i in rows],
            }),
            hub / f"{split}-00000-of-00001.parquet",
        )  # fmt: skip
    written = run(f"source='hub:{hub}'", f"output={tmp_path}/data", "name=mine")
    counts = [(one.name, one.n_images, one.n_captions) for one in written]
    assert counts == [("train", 5, 10), ("dev", 1, 2), ("test", 2, 4)]
    kept = sorted((tmp_path / "data/mine/images").iterdir())
    assert [file.read_bytes() for file in kept] == [file.read_bytes() for file in files]
    assert (tmp_path / "data/mine/mine_dev_caps.txt").read_text().split("\n")[1] == (
        "caption 1 of 5.png"
    )
    for share in (2, 0, 0, 3, 1):  # of three files, and pictures that are there stay
        keys = (f"output={tmp_path}/shared", "name=mine", f"shard={share}/4")
        shared = run(f"source='hub:{hub}'", *keys)
        assert (shared == []) == (share != 1)
    assert contents(tmp_path / "shared") == contents(tmp_path / "data")
    net = ["backbone=squeezenet1_1", "weights=random", "transform.size=32", "num_workers=0"]
    run(f"images={tmp_path}/data/mine/images", f"output={tmp_path}/data/mine", *net, verb="extract")
    split = load_split(SplitFiles.find(tmp_path / "data", "mine", "train"), "train")
    assert len(split.image_features) == 5
    # as others have it: columns of captions, or a name of the picture, which has none inside
    column = [{"path": None, "bytes": file.read_bytes()} for file in files[:3]]
    write_table(table({"image": column, "caption_0": list("abc"), "caption_1": ["d", "", "f"]}),
                hub / "train-00000-of-00001.parquet")  # fmt: skip
    write_table(table({"image": column, "filename": ["x.jpg", "x.jpg", "y.jpg"],
                       "caption": ["g", "h", "i"], "split": ["val", "val", "test"]}),
                hub / "validation-00000-of-00001.parquet")  # fmt: skip
    (hub / "test-00000-of-00001.parquet").unlink()
    written = run(f"source='hub:{hub}'", f"output={tmp_path}/data", "name=other")
    counts = [(one.name, one.n_images, one.n_captions) for one in written]
    assert counts == [("train", 3, 5), ("dev", 1, 2), ("test", 1, 1)]
    assert (tmp_path / "data/other/other_train_images.txt").read_text().split("\n")[0] == (
        "train_train-00000-of-00001_1.jpg"
    )


def test_features_in_the_same_command(captions, photos, monkeypatch, tmp_path, capsys):
    ran = []
    monkeypatch.setattr(prepare, "run_step", lambda name, keys: ran.append((name, keys)))
    given = [f"source={captions}", f"output={tmp_path}/data", "name=mine", "backbone=resnet18"]
    run_command(lambda: prepare.main([*given, f"images={photos}"]), capsys=capsys)
    assert ran == [
        ("extract", [f"images={photos}", f"output={tmp_path}/data/mine",
                     "backbone=resnet18", "weights=pretrained"])
    ]  # fmt: skip
    told = run_command(lambda: prepare.main(given), capsys=capsys, code=1).err
    assert told == "error: backbone=… makes features of pictures: say where they are, images=….\n"
