"""VSE++'s models against the vectors that VSE++ made itself."""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from vse_exp.compat.loading import load_model
from vse_exp.compat.vsepp import load_vsepp
from vse_exp.errors import UserError
from vse_exp.similarity import Order

VOCABULARY = "f8k_precomp_vocab.pkl"


@pytest.fixture
def folder(golden: Path, tmp_path: Path) -> Path:
    """A copy of the golden model, to be changed."""
    for name in ("model_best.pth.tar", VOCABULARY):
        shutil.copy(golden / "small_vsepp" / name, tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Any) -> Path:
    path = folder / "model_best.pth.tar"
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_encodes_images_as_vsepp(golden: Path) -> None:
    folder = golden / "small_vsepp"
    model = load_model(folder / "model_best.pth.tar")
    images = model.encode_images(np.load(folder / "feats.npy"))
    assert np.abs(images - np.load(folder / "im_vecs.npy")).max() < 1e-6


def test_encodes_sentences_as_vsepp(golden: Path) -> None:
    folder = golden / "small_vsepp"
    if not (folder / "caps.txt").exists():
        pytest.skip("VSE++'s vectors are of the data set's captions, which are not in the project")
    captions = (folder / "caps.txt").read_text().splitlines()
    sentences = load_model(folder / "model_best.pth.tar").encode_sentences(captions)
    assert np.abs(sentences - np.load(folder / "sent_vecs.npy")).max() < 1e-6


def test_images_stay_as_they_are_without_imgnorm(folder: Path) -> None:
    features = np.random.default_rng(0).standard_normal((3, 48)).astype(np.float32)
    path = rewrite(folder, lambda content: setattr(content["opt"], "no_imgnorm", True))
    model = load_vsepp(path)
    assert not model.normalize_images
    state = model.state_dict()
    expected = (
        features @ state["image_encoder.projection.weight"].numpy().T
        + state["image_encoder.projection.bias"].numpy()
    )
    np.testing.assert_allclose(model.encode_images(features), expected, atol=1e-5)
    assert np.abs(np.linalg.norm(model.encode_sentences(["a dog"]), axis=1) - 1).max() < 1e-6


def test_order_embeddings(folder: Path) -> None:
    def change(content: Any) -> None:
        content["opt"].measure, content["opt"].use_abs = "order", True

    model = load_vsepp(rewrite(folder, change))
    assert isinstance(model.similarity, Order)
    assert (model.encode_sentences(["a dog", "two dogs ."]) >= 0).all()


@pytest.mark.parametrize("layers", [1, 2])
def test_sentences_by_torch_s_gru(folder: Path, layers: int) -> None:
    def change(content: Any) -> None:
        content["opt"].num_layers = layers
        captions = content["model"][1]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") * (layers == 2):
            size = (192, 64) if name.startswith("weight") else (192,)
            captions[f"rnn.{name}_l1"] = torch.randn(size) / 8

    path = rewrite(folder, change)
    model = load_vsepp(path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        captions = torch.load(path, weights_only=True)["model"][1]
    gru = torch.nn.GRU(32, 64, layers, batch_first=True)
    gru.load_state_dict({name[4:]: each for name, each in captions.items() if name[:4] == "rnn."})
    with (folder / VOCABULARY).open("rb") as file:
        ids = Reader(file).load().word2idx
    sentences = ["A dog in the water", "Zzz's dog!", "dog dog dog dog dog dog dog dog"]
    tokens = ["a dog in the water", "<unk> <unk> dog <unk>", sentences[2]]
    expected = []
    for each in tokens:
        caption = [ids[word] for word in f"<start> {each} <end>".split()]
        _, states = gru(captions["embed.weight"][caption][None])
        expected.append(torch.nn.functional.normalize(states[-1, 0], dim=-1).detach().numpy())
    np.testing.assert_allclose(model.encode_sentences(sentences), expected, atol=1e-6)


class Reader(pickle.Unpickler):
    """Reads the golden vocabulary."""

    def find_class(self, module: str, name: str) -> Any:
        return argparse.Namespace


def test_python_2_vocabularies(golden: Path, folder: Path) -> None:
    expected = load_vsepp(golden / "small_vsepp" / "model_best.pth.tar").vocabulary.to_dict()
    words = ["<pad>", "<start>", "<end>", "<unk>", *expected["words"][1:]]
    pairs = b"".join(b"S'%s'\nI%d\ns" % (word.encode(), i) for i, word in enumerate(words))
    made = b"ccopy_reg\n_reconstructor\n(cvocab\nVocabulary\nc__builtin__\nobject\nNtR"
    (folder / VOCABULARY).write_bytes(made + b"(dS'word2idx'\n(d" + pairs + b"sb.")
    assert load_vsepp(folder / "model_best.pth.tar").vocabulary.to_dict() == expected


def test_the_only_vocabulary_is_found_whatever_its_name(folder: Path) -> None:
    (folder / VOCABULARY).rename(folder / "coco_vocab.pkl")
    path = folder / "model_best.pth.tar"
    load_vsepp(path)
    shutil.copy(folder / "coco_vocab.pkl", folder / "other_vocab.pkl")
    with pytest.raises(UserError, match="Several vocabulary files"):
        load_vsepp(path)
    load_vsepp(path, folder / "other_vocab.pkl")
    for name in ("coco_vocab.pkl", "other_vocab.pkl"):
        (folder / name).unlink()
    with pytest.raises(UserError, match="No vocabulary files"):
        load_vsepp(path)


def test_models_that_do_not_fit(folder: Path) -> None:
    path = folder / "model_best.pth.tar"
    weights = path.read_bytes()
    rewrite(folder, lambda content: content["model"][0].update({"cnn.0.weight": torch.zeros(1)}))
    with pytest.raises(UserError, match="precomputed features"):
        load_vsepp(path)
    path.write_bytes(weights)
    rewrite(folder, lambda content: content["opt"].__dict__.update(num_layers=2))
    with pytest.raises(UserError, match="do not fit its options"):
        load_vsepp(path)
    path.write_bytes(weights)
    rewrite(folder, lambda content: content["model"][1].pop("embed.weight"))
    with pytest.raises(UserError, match=r"lacks embed\.weight"):
        load_vsepp(path)
    path.write_bytes(weights)
    rewrite(folder, lambda content: content.pop("opt"))
    with pytest.raises(UserError, match="of another program"):
        load_vsepp(path)
    path.write_bytes(weights[:1000])
    with pytest.raises(UserError, match="no readable checkpoint"):
        load_vsepp(path)


def test_vocabularies_that_do_not_fit(folder: Path) -> None:
    path = folder / "model_best.pth.tar"
    (folder / VOCABULARY).write_bytes(
        b"cvocab\nVocabulary\n)\x81}U\x08word2idx}(U\x05<pad>K\x00U\x07<start>K\x01usb."
    )
    with pytest.raises(UserError, match="another model"):
        load_vsepp(path)
    (folder / VOCABULARY).write_bytes(b"}.")
    with pytest.raises(UserError, match="no vocabulary of VSE"):
        load_vsepp(path)


def test_code_in_a_checkpoint_is_not_run(folder: Path) -> None:
    marker = folder / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (os.system, (f"touch {marker}",))

    path = folder / "model_best.pth.tar"
    for zipped in (True, False):
        torch.save({"opt": Evil(), "model": []}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(UserError, match=r"asks for (posix|nt)\.system, which is not data"):
            load_vsepp(path)
    assert not marker.exists()


class Python2(pickle._Pickler):
    """Writes str as the byte strings of Python 2."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, text: str) -> None:
        content = text.encode()
        self.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)
        self.memoize(text)

    dispatch[str] = save_str


def test_files_of_old_torch_and_python_2(golden: Path, folder: Path) -> None:
    path = folder / "model_best.pth.tar"
    expected = load_vsepp(path).encode_sentences(["a dog runs"])
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, weights_only=True)
    old: Any = SimpleNamespace(
        __name__="old",
        Pickler=Python2,
        dump=lambda content, file, protocol: Python2(file, protocol).dump(content),
    )
    torch.save(content, path, pickle_module=old, _use_new_zipfile_serialization=False)
    assert b"U\x05epoch" in path.read_bytes()
    np.testing.assert_array_equal(load_vsepp(path).encode_sentences(["a dog runs"]), expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_layers", "1"), ("measure", ["order"]), ("use_abs", 1), ("data_name", None)],
)
def test_options_of_other_types(folder: Path, key: str, value: object) -> None:
    path = rewrite(folder, lambda content: setattr(content["opt"], key, value))
    with pytest.raises(UserError, match="of another program"):
        load_vsepp(path)
