"""The original's models against the vectors that the original made itself."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from small_models import small_model
from vse_exp.compat.loading import load_model
from vse_exp.compat.original import load_original, write_original
from vse_exp.errors import UserError
from vse_exp.models.checkpoint import save_model
from vse_exp.similarity import Order
from vse_exp.text.tokenizers import Whitespace, Words
from vse_exp.text.vocabulary import UNK, Vocabulary
from vse_exp.unpickling import load_data


@pytest.fixture(params=["small_gru", "small_bow"])
def folder(golden: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a golden folder, its model renamed to X.npz."""
    source = golden / request.param
    copy = Path(shutil.copytree(source, tmp_path / "model", copy_function=shutil.copyfile))
    for suffix in ("", ".pkl", ".dictionary.pkl"):
        (copy / f"{request.param}.npz{suffix}").rename(copy / f"X.npz{suffix}")
    return copy


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


@pytest.mark.parametrize("batch_size", [3, 1024])
def test_encodes_as_the_original(folder: Path, batch_size: int) -> None:
    model = load_model(folder / "X.npz")
    for name in ("edge_", ""):  # unknown words, the empty sentence, one word, many words
        if not (folder / f"{name}caps.txt").exists():
            continue  # captions of the data set, which are not in the project
        captions = lines(folder / f"{name}caps.txt")
        ours = model.encode_sentences(captions, batch_size=batch_size)
        assert np.abs(ours - np.load(folder / f"{name}sent_vecs.npy")).max() < 1e-6
    images = model.encode_images(np.load(folder / "feats.npy"))
    assert np.abs(images - np.load(folder / "im_vecs.npy")).max() < 1e-6


def test_captions_of_100_words(folder: Path) -> None:
    """Step by step in float64, by the formulas of the original's layers.py."""
    model = load_original(folder / "X.npz")
    with np.load(folder / "X.npz") as arrays:
        weights = {name: arrays[name].astype(np.float64) for name in arrays.files}
    ids = load_data(folder / "X.npz.dictionary.pkl")
    caption = ("a dog runs zzz " * 25).split()
    rows = [ids[word] if ids.get(word, len(weights["Wemb"])) < len(weights["Wemb"]) else 1
            for word in caption]  # fmt: skip
    words = weights["Wemb"][[*rows, 0]]
    state = words.sum(0)
    if "encoder_W" in weights:
        w, u, b, wx, ux, bx = (weights[f"encoder_{key}"] for key in "W U b Wx Ux bx".split())
        state = np.zeros(len(u))
        for word in words:
            gates = 1 / (1 + np.exp(-(word @ w + b + state @ u)))
            reset, update = np.split(gates, 2)
            state = update * state + (1 - update) * np.tanh(state @ ux * reset + word @ wx + bx)
    expected = state / np.linalg.norm(state)
    np.testing.assert_allclose(model.encode_sentences([" ".join(caption)])[0], expected, atol=1e-6)


def test_the_two_rarest_words_are_unknown(folder: Path) -> None:
    ids = load_data(folder / "X.npz.dictionary.pkl")
    vocabulary = load_original(folder / "X.npz").vocabulary
    by_id = sorted(ids, key=ids.get)
    assert len(vocabulary) == len(ids) + 1  # ours counts PAD
    unknown = vocabulary.encode([" ".join(by_id[-2:])]).tokens[:2]
    assert unknown.tolist() == [UNK, UNK]
    known = vocabulary.encode([by_id[-3]]).tokens[0]
    assert known == len(vocabulary) - 1


def test_written_and_read_again(folder: Path) -> None:
    write_original(load_original(folder / "X.npz"), folder / "Y.npz")
    with np.load(folder / "X.npz") as theirs, np.load(folder / "Y.npz") as ours:
        assert set(theirs.files) == set(ours.files)
        for name in theirs.files:
            np.testing.assert_array_equal(ours[name], theirs[name])
            assert ours[name].dtype == theirs[name].dtype
    theirs, ours = (load_data(folder / f"{name}.npz.pkl") for name in "XY")
    assert {key: theirs[key] for key in ours} == ours
    theirs, ours = (load_data(folder / f"{name}.npz.dictionary.pkl") for name in "XY")
    assert list(ours.items()) == [pair for pair in theirs.items() if pair[0] in ours]
    assert len(theirs) == len(ours) + 2
    # byte strings, as Python 2 has them; the standard library reads them too
    with (folder / "Y.npz.dictionary.pkl").open("rb") as file:
        assert all(isinstance(word, bytes) for word in pickle.load(file, encoding="bytes"))


def test_our_checkpoint_of_it_is_the_same(folder: Path) -> None:
    model = load_original(folder / "X.npz")
    save_model(model, folder / "X.ckpt")
    captions = lines(folder / "edge_caps.txt")
    again = load_model(folder / "X.ckpt").encode_sentences(captions)
    np.testing.assert_array_equal(again, model.encode_sentences(captions))


def test_options_of_older_versions(folder: Path) -> None:
    options = load_data(folder / "X.npz.pkl")
    options["ncon"] = 100
    options.pop("lrate", None)
    (folder / "X.npz.pkl").write_bytes(pickle.dumps(options, protocol=2))
    expected = np.load(folder / "im_vecs.npy")
    images = load_original(folder / "X.npz").encode_images(np.load(folder / "feats.npy"))
    assert np.abs(images - expected).max() < 1e-6


def test_our_words_joined_by_blanks_are_the_originals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["dog", "café", "it's", "日本", 'say"', "a\\b"]
    model = small_model(Vocabulary(words, Words()), 5, {"name": "gru", "dim_word": 3}, dim=4)
    write_original(model, tmp_path / "X.npz")
    assert "cuts captions at white space" in caplog.text
    again = load_original(tmp_path / "X.npz")
    assert again.vocabulary.words == words
    captions = ["Dog, café!", "It's a DOG."]
    joined = [" ".join(model.vocabulary.tokenize(caption)) for caption in captions]
    assert joined == ["dog café", "it's a dog"]
    expected = model.encode_sentences(captions)
    np.testing.assert_allclose(again.encode_sentences(joined), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_words", "384"), ("dim", 0), ("dim_image", 1 << 9999), ("encoder", "lstm"), ("dim", None)],
)
def test_options_that_name_no_model(folder: Path, key: str, value: object) -> None:
    options = load_data(folder / "X.npz.pkl") | {key: value}
    (folder / "X.npz.pkl").write_bytes(pickle.dumps(options))
    with pytest.raises(UserError, match=f"does not say which {key} the model has"):
        load_original(folder / "X.npz")


def test_objects_in_the_arrays(folder: Path) -> None:
    with np.load(folder / "X.npz") as arrays:
        weights = dict(arrays)
    weights["Wemb"] = np.array([print, None], dtype=object)
    np.savez(folder / "X.npz", **weights)
    with pytest.raises(UserError, match="no readable"):
        load_original(folder / "X.npz")


def test_missing_and_broken_files(folder: Path) -> None:
    for suffix in (".dictionary.pkl", ".pkl", ""):
        path = folder / f"X.npz{suffix}"
        content = path.read_bytes()
        for broken in (content[: len(content) // 2], b""):
            path.write_bytes(broken)
            with pytest.raises(UserError, match=path.name):
                load_original(folder / "X.npz")
        path.unlink()
        with pytest.raises(UserError, match=path.name):
            load_original(folder / "X.npz")
        path.write_bytes(content)


def test_files_of_different_models(folder: Path) -> None:
    with np.load(folder / "X.npz") as arrays:
        weights = dict(arrays)
    np.savez(folder / "X.npz", **{**weights, "Wemb": weights["Wemb"][:-1]})
    with pytest.raises(UserError, match="different models"):
        load_original(folder / "X.npz")
    weights.pop("ff_image_b")
    np.savez(folder / "X.npz", **weights)
    with pytest.raises(UserError, match="ff_image_b"):
        load_original(folder / "X.npz")


@pytest.mark.parametrize(
    "keys",
    [
        {"text": {"name": "lstm"}},
        {"text": {"name": "gru", "num_layers": 2}},
        {"text": {"name": "gru", "bidirectional": True}},
        {"text": {"name": "gru", "recurrent_bias": True}},
        {"images": {"name": "mlp"}},
        {"text": {"name": "gru", "pooling": "mean"}},
        {"unit_images": False},
        {"similarity": Order()},
        {"images": {"power": 0.5}},
    ],
)
def test_what_the_original_lacks_is_not_written(tmp_path: Path, keys: dict[str, Any]) -> None:
    model = small_model(Vocabulary(["a", "dog"], Whitespace()), 5, dim=4, **keys)
    for name, weight in model.named_parameters():
        if "bias_hh" in name:
            weight.data.fill_(1.0)
    with pytest.raises(UserError, match="The original has no"):
        write_original(model, tmp_path / "X.npz")
    assert not list(tmp_path.iterdir())
