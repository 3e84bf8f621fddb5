"""Trainings that start from a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import WORDS, configuration, write_dataset
from text_model import write_text_model
from vse_exp import extract
from vse_exp.compat.loading import load_model
from vse_exp.errors import UserError
from vse_exp.models.vse import VSE
from vse_exp.training.building import build_parts
from vse_exp.training.fit import train


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model's file."""
    folder = tmp_path_factory.mktemp("first")
    train(configuration(write_dataset(folder / "data"), folder / "run", "max_epochs=1"))
    return folder / "run/checkpoints/best.ckpt"


def test_it_starts_where_the_other_ended_in_its_words(first: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    captions = data / "tiny/tiny_train_caps.txt"
    captions.write_text(captions.read_text().replace("dog", "wolf"))
    cfg = configuration(data, tmp_path / "run", f"init={first}", "lrate=1e-9", "max_epochs=1")
    known, model = load_model(first), build_parts(cfg)[0].model.eval()
    assert model.vocabulary.words == known.vocabulary.words  # type: ignore[attr-defined]
    asked = ["a dog runs", "a wolf runs"]
    rows = torch.from_numpy(np.load(data / "tiny/tiny_test_ims.npy"))
    np.testing.assert_array_equal(model.encode_sentences(asked), known.encode_sentences(asked))
    with torch.no_grad():
        torch.testing.assert_close(model.embed_images(rows), known.embed_images(rows))
    train(cfg)
    after = load_model(tmp_path / "run/checkpoints/best.ckpt")
    np.testing.assert_allclose(
        after.encode_sentences(asked), known.encode_sentences(asked), atol=1e-6
    )


def test_of_the_original(golden: Path, tmp_path: Path) -> None:
    source = golden / "small_bow/small_bow.npz"
    known = load_model(source)
    assert isinstance(known, VSE)
    dim = known.dim_image
    data = write_dataset(tmp_path / "data", dim=dim or 0)
    keys = ["experiment=kiros2014", "model.encoder=bow", f"init={source}", "max_epochs=1"]
    of_model = [f"model.dim={known.dim}"]
    cfg = configuration(data, tmp_path / "run", *keys, *of_model)
    model = build_parts(cfg)[0].model.eval()
    sentences = ["a man rides a bike", "two dogs"]
    np.testing.assert_array_equal(
        model.encode_sentences(sentences), known.encode_sentences(sentences)
    )


def test_the_backbone_of_its_features_can_learn_then(tmp_path: Path) -> None:
    """Features made by a network; the same pictures through it give the same vectors."""
    data = write_dataset(tmp_path / "data", dim=512)
    folder = data / "tiny"
    random = np.random.default_rng(0)
    for split in ("train", "dev", "test"):
        names = [f"{split}{number}.png" for number in range(12)]
        (folder / f"tiny_{split}_images.txt").write_text("\n".join(names) + "\n")
        (folder / "images").mkdir(exist_ok=True)
        for name in names:
            pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name)
    made = ["backbone=resnet18", "weights=random", "transform.size=32", "dtype=float32"]
    extract.main([f"images={folder / 'images'}", f"output={folder}", "overwrite=true", *made])
    keys = ["model.image_encoder=mlp", "max_epochs=1"]
    train(configuration(data, tmp_path / "run", *keys))
    best = tmp_path / "run/checkpoints/best.ckpt"
    keys = ["model.image_encoder=backbone", "model.image_encoder.backbone=resnet18",
            "model.image_encoder.weights=random", "seed=0",
            "model.image_encoder.transform={size: 32}", "model.image_encoder.head=mlp",
            "model.image_encoder.head.power=0.5",
            "model.image_encoder.head.center=true"]  # fmt: skip
    cfg = configuration(data, tmp_path / "next", *keys, f"init={best}", "max_epochs=1")
    module, datamodule = build_parts(cfg)
    known, model = load_model(best), module.model.eval()
    pictures = torch.cat(list(datamodule.split("test").image_features.blocks()))
    rows = torch.from_numpy(np.load(folder / "tiny_test_ims.npy"))
    with torch.no_grad():
        torch.testing.assert_close(
            model.embed_images(pictures), known.embed_images(rows), rtol=1e-3, atol=1e-4
        )
    train(cfg)
    other = configuration(
        data, tmp_path / "other", *keys, "model.image_encoder.backbone=resnet34", f"init={best}"
    )
    with pytest.raises(UserError, match="differ in backbone resnet18 and resnet34"):
        build_parts(other)


def test_a_frozen_text_model_remembers_what_its_weights_give(tmp_path: Path) -> None:
    """After it has learned, and is frozen again."""
    pytest.importorskip("transformers", reason="needs the extra `text`")
    text = write_text_model(tmp_path / "text", WORDS)
    data = write_dataset(tmp_path / "data")
    keys = ["model.encoder=pretrained", f"model.encoder.model={text}", "max_epochs=1"]
    learned = configuration(
        data, tmp_path / "run", *keys, "model.encoder.frozen=false", "lrate=0.1"
    )
    train(learned)
    best = tmp_path / "run/checkpoints/best.ckpt"
    module, _ = build_parts(configuration(data, tmp_path / "next", *keys, f"init={best}"))
    asked = (data / "tiny/tiny_train_caps.txt").read_text().splitlines()
    np.testing.assert_allclose(
        module.model.eval().encode_sentences(asked),
        load_model(best).encode_sentences(asked),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (["model.encoder=gru"], r"its sentence_encoder does not fit \(.*\): give the same keys"),
        (["model.image_encoder=linear"], "its image_encoder does not fit"),
        (["model.dim=4"], "its sentence_encoder does not fit"),
    ],
)
def test_one_that_does_not_fit(first: Path, tiny: Path, tmp_path: Path, keys, told) -> None:
    cfg = configuration(tiny, tmp_path / "run", *keys, f"init={first}")
    with pytest.raises(UserError, match=told):
        build_parts(cfg)


def test_one_that_is_not_there(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No checkpoint none\.ckpt"):
        build_parts(configuration(tiny, tmp_path / "run", "init=none.ckpt"))
