"""One tower cut out of a dual encoder that is built by its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from vse_exp.errors import UserError

Side = Literal["text", "image"]


def remove(tower: nn.Module, names: Iterable[str]) -> None:
    """Take children and parameters off a module."""
    for name in names:
        delattr(tower, name)


def joined(whole: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A dual encoder filled with the state of both towers, and of its logit as far as it has one
    and the state says it."""
    own = whole.state_dict()
    logit = {name: own[name] for name in own if name.startswith("logit")}
    given = {name: state[name].reshape(own[name].shape) for name in logit if name in state}
    towers = {name: state[name] for name in state if not name.startswith("logit")}
    whole.load_state_dict({**towers, **logit, **given})
    return whole


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
