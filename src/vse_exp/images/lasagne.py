"""Lasagne's `vgg19.pkl` (Lasagne/Recipes, modelzoo), the network that the original's demo reads.

It is `{"param values": [W, b, W, b, …], …}` from conv1_1 to fc8, pickled with numpy. Convolutions
there are correlations as in torch, colours are BGR, and dense weights stand the other way round.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.unpickling import Holder, load_data

LARGEST = 1 << 30
CHANNELS = (64, 64, 128, 128, 256, 256, 256, 256, *(512,) * 8)
"""Outputs of the convolutions, all 3 x 3, and where they are among torchvision's `features`."""
PLACES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
DENSE = {0: (512 * 7 * 7, 4096), 3: (4096, 4096), 6: (4096, 1000)}
"""Inputs and outputs of the dense layers, by place in torchvision's `classifier`."""


def load_lasagne_vgg19(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """State dict of torchvision's `vgg19`, for BGR pixels of 0 to 255 less (103.939, 116.779,
    123.68).

    Raises UserError for a file that is missing, broken, or of another network, and, by name, for
    one that asks for more than arrays.
    """
    content = load_data(path, _NUMPY, LARGEST)
    values = content.get("param values") if isinstance(content, dict) else None
    shapes = _shapes()
    if not isinstance(values, list) or len(values) != len(shapes):
        raise UserError(f"{path} is no vgg19.pkl of Lasagne: it has no 38 `param values`.")
    state = {}
    for value, (name, shape) in zip(values, shapes.items(), strict=True):
        array = _array(value)
        if array is None or array.shape != shape:
            found = "no array of numbers" if array is None else f"of shape {array.shape}"
            raise UserError(f"{path} is no vgg19.pkl of Lasagne: {name} is {found}.")
        state[name] = torch.from_numpy(np.array(array.T if array.ndim == 2 else array, np.float32))
    return state


def _shapes() -> dict[str, tuple[int, ...]]:
    """Lasagne's shapes under torchvision's names, in Lasagne's order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for place, inputs, outputs in zip(PLACES, (3, *CHANNELS), CHANNELS, strict=False):
        shapes[f"features.{place}.weight"] = (outputs, inputs, 3, 3)
        shapes[f"features.{place}.bias"] = (outputs,)
    for place, (inputs, outputs) in DENSE.items():
        shapes[f"classifier.{place}.weight"] = (inputs, outputs)
        shapes[f"classifier.{place}.bias"] = (outputs,)
    return shapes


class _Array(Holder):
    """A numpy array: its state is (version, shape, dtype, Fortran order, bytes)."""


class _DType(Holder):
    """A numpy dtype: made of a code such as f4; its state is (version, byte order, …)."""


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    return text.encode("latin1")


_NUMPY = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


def _array(value: Any) -> np.ndarray | None:
    """The array that a stand-in describes, or None where it is none of floating point numbers."""
    try:
        _, shape, dtype, fortran, content = value.state
        (code, *_), (_, order, *_) = dtype.args, dtype.state
        if code not in ("f4", "f8") or order not in ("<", ">", "="):
            return None
        content = content.encode("latin1") if isinstance(content, str) else content
        flat = np.frombuffer(content, dtype=f"{order}{code}")
        return flat.reshape(shape, order="F" if fortran else "C")
    except (AttributeError, TypeError, ValueError):
        return None
