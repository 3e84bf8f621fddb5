"""Lasagne's VGG-19, at a small size but under the real names."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import vgg19 as torchvision_vgg19

from vse_exp.errors import UserError
from vse_exp.images import lasagne
from vse_exp.images.lasagne import load_lasagne_vgg19


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Parameters of a network of few channels, in Lasagne's order."""
    monkeypatch.setattr(lasagne, "CHANNELS", (2,) * 16)
    monkeypatch.setattr(lasagne, "DENSE", {0: (8, 5), 3: (5, 5), 6: (5, 3)})
    random = np.random.default_rng(0)
    return [
        random.standard_normal(shape).astype(np.float32) for shape in lasagne._shapes().values()
    ]


def test_names_and_shapes_are_those_of_torchvision() -> None:
    with torch.device("meta"):
        expected = {name: tuple(p.shape) for name, p in torchvision_vgg19().named_parameters()}
    # dense weights are turned
    shapes = {name: s[::-1] if len(s) == 2 else s for name, s in lasagne._shapes().items()}
    assert list(shapes.items()) == list(expected.items())


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_of_old_protocols(small: list[np.ndarray], tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "vgg19.pkl"
    small[0] = np.asfortranarray(small[0])
    small[1] = small[1].astype(">f8")
    content = {"param values": small, "mean value": np.zeros(3), "synset words": ["a", "b"]}
    path.write_bytes(pickle.dumps(content, protocol))
    state = load_lasagne_vgg19(path)
    assert list(state) == list(lasagne._shapes())
    for value, expected in zip(state.values(), small, strict=True):
        assert value.dtype == torch.float32
        np.testing.assert_array_equal(value.numpy(), expected.T if expected.ndim == 2 else expected)


def python_2(array: np.ndarray) -> bytes:
    """An array as Python 2 pickles it in protocol 2."""
    shape = b"".join(b"J" + int(size).to_bytes(4, "little") for size in array.shape)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01(" + shape + b"tcnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + array.nbytes.to_bytes(4, "little") + array.tobytes() + b"tb"
    )


def test_python_2(small: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "vgg19.pkl"
    values = b"(" + b"".join(map(python_2, small)) + b"e"
    path.write_bytes(b"\x80\x02}(U\x0cparam values]" + values + b"u.")
    for value, expected in zip(load_lasagne_vgg19(path).values(), small, strict=True):
        np.testing.assert_array_equal(value.numpy(), expected.T if expected.ndim == 2 else expected)


def test_other_files(small: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "vgg19.pkl"

    def refused(content: Any) -> str:
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError) as caught:
            load_lasagne_vgg19(path)
        return str(caught.value)

    assert "no 38 `param values`" in refused([])
    assert "no 38 `param values`" in refused({"param values": small[:32]})
    assert "features.0.weight is of shape (2, 3, 3)" in refused(
        {"param values": [small[0][..., 0], *small[1:]]}
    )
    assert "is no array of numbers" in refused({"param values": [1, *small[1:]]})
    assert "is no array of numbers" in refused(
        {"param values": [small[0].astype(object), *small[1:]]}
    )
    assert "asks for functools.partial" in refused({"param values": partial})
