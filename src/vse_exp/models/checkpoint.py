"""One file is enough to use a model: weights, vocabulary, configuration, as plain data."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vse_exp.device import find_device
from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.models.config import ModelConfig
from vse_exp.models.vse import VSE
from vse_exp.text.subwords import vocabulary_from_dict
from vse_exp.unpickling import load_torch

KEY = "vse_exp"
"""Under this key a checkpoint, ours or Lightning's, holds what `describe` returns."""


def describe(model: VSE) -> dict[str, Any]:
    """All but the weights, as plain Python: enough to build the model again."""
    return {
        "version": 1,
        "config": asdict(model.config),
        "vocabulary": model.vocabulary.to_dict(),
        "provenance": model.provenance,
    }


def save_model(
    model: VSE, path: str | os.PathLike[str], extra: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint atomically. `extra`: plain values kept beside it (metrics, config)."""
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    content = {KEY: describe(model), "state_dict": state, "extra": extra or {}}
    write_checkpoint(content, path)


def write_checkpoint(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write atomically. UserError where that fails; what stood at `path` is then untouched."""
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            if "enforce fail" not in str(error) and "PytorchStreamWriter" not in str(error):
                raise
            # torch's writer keeps the system's reason to itself
            raise UserError(f"Cannot write {path}: is the disk full?") from error


def load_model(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> VSE:
    """Load a model, ready to encode: our checkpoint (also Lightning's `last.ckpt`), the original's
    `X.npz` with its two pickles, or VSE++'s `model_best.pth.tar` with its vocabulary beside it.

    `device` may be `auto`: a GPU where there is one. Nothing in the file is executed. Raises
    UserError for a file that is none of these, and for a device that is not there.
    """
    path, device = Path(path), find_device(device)
    if not path.is_file():
        raise UserError(f"No checkpoint {path}: give the path of a trained model.")
    if path.suffix == ".npz":
        from vse_exp.compat.original import load_original

        return load_original(path).to(device).eval()
    if path.name.endswith(".pth.tar"):
        from vse_exp.compat.vsepp import load_vsepp

        return load_vsepp(path).to(device).eval()
    content = read_checkpoint(path)
    about = content[KEY]
    config = ModelConfig.from_dict(about["config"])
    model = VSE(config, vocabulary_from_dict(about["vocabulary"]), about["provenance"])
    state = content["state_dict"]
    # Lightning's checkpoints hold the training module: the model, and maybe its average, inside
    for prefix in ("averaged.module.", "model."):
        inside = [name for name in state if name.startswith(prefix)]
        if inside:
            state = {name.removeprefix(prefix): state[name] for name in inside}
            break
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"The weights in {path} do not fit its configuration: {reason}") from error
    return model.to(device).eval()


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of one of our checkpoint files, unpickled as data only."""
    content = load_torch(path)
    if not isinstance(content, dict) or KEY not in content:
        raise UserError(f"{path} was not written by vse_exp: give a checkpoint of this program.")
    return content
