"""Captions of several data sets and languages for the same images."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import random_captions, random_features
from vse_exp import evaluate, train
from vse_exp.compat.loading import load_model
from vse_exp.data.opening import load_split_from_config
from vse_exp.errors import UserError
from vse_exp.evaluation.evaluator import evalrank

CHINESE = "狗在雪地里跑 女孩坐在草地上 男孩跳进水里 一个球".split()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`en` with features and two captions an image; `zh` with one or two, in another order, whose
    file of languages names it; `de` in the same order, without that file."""
    for split in ("train", "dev", "test"):
        names = [f"{split}{number}.jpg" for number in range(8)]
        write(tmp_path, "en", split, random_captions(16), names)
        np.save(tmp_path / "en" / f"en_{split}_ims.npy", random_features(8))
        mixed = [*names[::-1], names[3], "other.jpg"]
        write(tmp_path, "zh", split, [CHINESE[n % 4] for n in range(10)], mixed)
        (tmp_path / "zh" / f"zh_{split}_languages.txt").write_text("zh-CN\n" * 10)
        write(tmp_path, "de", split, [f"hund {n}" for n in range(8)], names)
    return tmp_path


def write(root: Path, name: str, split: str, captions: list[str], images: list[str]) -> None:
    (root / name).mkdir(exist_ok=True)
    for kind, lines in (("caps", captions), ("images", images)):
        text = "".join(f"{line}\n" for line in lines)
        (root / name / f"{name}_{split}_{kind}.txt").write_text(text, encoding="utf-8")


def load(root: Path, **keys):
    return load_split_from_config({"name": "en", "root": str(root)} | keys, "dev")


def test_captions_go_by_the_names_of_their_images(root: Path) -> None:
    split = load(root, captions=["en", "zh", str(root / "de")])
    assert split.image_features.shape == (8, 12)
    assert split.image_names == [f"dev{number}.jpg" for number in range(8)]
    assert split.languages is not None
    assert {language: split.languages.count(language) for language in split.languages} == {
        "en": 16, "zh-CN": 9, "de": 8
    }  # fmt: skip
    assert (np.diff(split.caption_image) >= 0).all()
    of_3 = [
        (language, caption)
        for language, caption, image in zip(
            split.languages, split.captions, split.caption_image, strict=True
        )
        if image == 3
    ]
    english = random_captions(16)
    assert of_3 == [
        ("en", english[6]), ("en", english[7]),
        ("zh-CN", CHINESE[4 % 4]), ("zh-CN", CHINESE[8 % 4]),
        ("de", "hund 3"),
    ]  # fmt: skip


def test_some_languages_alone(root: Path) -> None:
    split = load(root, captions=["zh", "de"], languages=["de"])
    assert split.captions == [f"hund {n}" for n in range(8)]
    assert split.caption_image.tolist() == list(range(8))
    with pytest.raises(UserError, match=r"data.languages=fr, and .* has de, zh-CN: correct"):
        load(root, captions=["zh", "de"], languages=["fr"])
    with pytest.raises(UserError, match=r"has no .*en_dev_languages.txt"):
        load(root, languages=["en"])


def test_mistakes(root: Path) -> None:
    with pytest.raises(UserError, match="No dev split of data set 'it'"):
        load(root, captions=["it"])
    write(root, "far", "dev", ["a cat"], ["far.jpg"])
    with pytest.raises(UserError, match=r"names no image of .*first: far.jpg"):
        load(root, captions=["far"])
    (root / "zh" / "zh_dev_languages.txt").write_text("zh\n")
    with pytest.raises(UserError, match=r"zh_dev_languages.txt has 1 lines and .* has 10"):
        load(root, captions=["zh"])
    (root / "en" / "en_dev_images.txt").unlink()
    with pytest.raises(UserError, match=r"data.captions goes by file names"):
        load(root, captions=["de"])


def test_one_model_of_two_languages(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = root / "run"
    short = ["data=custom", "data.name=en", "data.captions=[en,zh]", f"paths.data_dir={root}"]
    options = ["data.batch_size=8", "model.dim=8", "max_epochs=1", "progress=false"]
    tokenizer = "data.vocabulary.tokenizer=multilingual"
    training = ["train", *short, *options, tokenizer, f"paths.run_dir={run}"]
    monkeypatch.setattr(sys, "argv", training)
    train.main()
    checkpoint, output = run / "checkpoints" / "best.ckpt", root / "figures.json"
    call = ["evaluate", *short, f"checkpoint={checkpoint}", f"output={output}"]
    monkeypatch.setattr(sys, "argv", call)
    evaluate.main()
    found = json.loads(output.read_text())
    assert set(found["languages"]) == {"en", "zh-CN"}
    alone = evalrank(load_model(checkpoint), "en", "test", data_dir=str(root))
    assert found["languages"]["en"]["rsum"] == pytest.approx(alone["rsum"])
    assert set(found["translations"]) == {"en → zh-CN", "zh-CN → en"}
    # other captions of the same name are other data
    (root / "zh" / "zh_train_caps.txt").write_text("猫\n" * 10, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", training)
    with pytest.raises(SystemExit):
        train.main()
    assert "other captions of the train split" in capsys.readouterr().err
