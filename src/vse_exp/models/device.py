"""Where a model runs."""

from __future__ import annotations

import torch

from vse_exp.errors import UserError


def find_device(name: str | torch.device) -> torch.device:
    """The device of that name, `auto` a GPU if there is one. UserError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} is not there: choose auto, cpu or cuda.") from error
    return device
