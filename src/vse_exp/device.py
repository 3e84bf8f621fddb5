"""Where a model runs."""

from __future__ import annotations

import torch

from vse_exp.errors import UserError


def find_device(name: str | torch.device) -> torch.device:
    """The device of that name, `auto` a GPU if there is one. UserError where it cannot be used."""
    if name == "auto":
        others = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else others
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"device={name} cannot be used ({reason}): choose auto, cpu, cuda or mps."
        ) from error
    return device
