"""`python:package.module:factory`: whatever a function of one's own returns.

Typing such a name runs that package's code, so it comes from a command or a program alone, and is
never read from a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.models.dual import DualEncoder
from vse_exp.models.others import loading
from vse_exp.models.others.st import OpenPictures, WholePictures
from vse_exp.similarity import Cosine


class Own(WholePictures):
    """An object with `encode_sentences(list of str)` and `encode_images(list of open pictures)`,
    which return an array (n, d) each. With an attribute `takes_pictures = False` the images are
    features (n, dim_image)."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        self.model, self.factory = model, name
        self.similarity = getattr(model, "similarity", None) or Cosine()
        self.dim = self.rows_of_sentences(["a"]).shape[1]

    @property
    def preprocessing(self) -> OpenPictures | None:
        return super().preprocessing if getattr(self.model, "takes_pictures", True) else None

    @property
    def kind(self) -> str:
        return type(self.model).__name__

    def fingerprint(self) -> str:
        return super().fingerprint() if self.state_dict() else f"python:{self.factory}"

    def rows_of_sentences(self, captions: list[str]) -> np.ndarray:
        return self._checked(self.model.encode_sentences(captions), len(captions))

    def rows_of_images(self, images: Any) -> np.ndarray:
        images = images.numpy() if isinstance(images, Tensor) else images
        return self._checked(self.model.encode_images(images), len(images))

    def _checked(self, rows: Any, count: int) -> np.ndarray:
        rows = rows.detach().cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
        if rows.ndim != 2 or len(rows) != count:
            raise UserError(
                f"python:{self.factory} returned {rows.shape} for {count} items: its "
                "encode_sentences and encode_images must return an array (n, d)."
            )
        return rows


def load(name: str, trust: Sequence[str] = ()) -> DualEncoder:
    """What the function `package.module:function` returns: a DualEncoder, or an object as `Own`
    takes it."""
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
        raise UserError(f"python:{name} must name a function: python:package.module:function.")
    module, _, function = name.partition(":")
    with loading(f"python:{name}"):
        made = getattr(import_module(module), function)()
    if isinstance(made, DualEncoder):
        return made
    if not hasattr(made, "encode_sentences") or not hasattr(made, "encode_images"):
        raise UserError(
            f"python:{name} returned a {type(made).__name__}: it must have encode_sentences and "
            "encode_images."
        )
    return Own(made, name)
