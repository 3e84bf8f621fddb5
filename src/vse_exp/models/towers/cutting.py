"""One tower cut out of a dual encoder that is built by its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import nn

from vse_exp.errors import UserError

Side = Literal["text", "image"]


def remove(tower: nn.Module, names: Iterable[str]) -> None:
    """Take children and parameters off a module."""
    for name in names:
        delattr(tower, name)


def refuse_downloads(config: Any, where: str = "") -> None:
    """UserError for a configuration that would have its library fetch something."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if "pretrained" in str(key) and value is True:
                raise UserError(f"The towers' architecture asks for a download ({where}{key}).")
            named = str(key).endswith(("model_name", "backbone", "architecture"))
            if named and not re.fullmatch(r"[\w.]+", str(value)):
                raise UserError(f"The towers' architecture names {value} ({where}{key}): unknown.")
            refuse_downloads(value, f"{where}{key}.")
