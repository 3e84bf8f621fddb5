"""One file is enough to use a model: weights, vocabulary, configuration, as plain data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vse_exp.device import find_device
from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.models.sharing import read_folder, write_folder
from vse_exp.models.version_1 import from_version_1
from vse_exp.models.vse import VSE
from vse_exp.parts import build, part_spec
from vse_exp.text.joined import vocabulary_from_dict
from vse_exp.unpickling import check_sums, load_torch

KEY = "vse_exp"
"""Under this key a checkpoint, ours or Lightning's, holds what `describe` returns."""


def describe(model: VSE) -> dict[str, Any]:
    """All but the weights, as plain Python: enough to build the model again."""
    return {
        "version": 2,
        "model": part_spec(model),
        "dim_image": model.dim_image,
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


def share_model(model: VSE, folder: Path) -> None:
    """Write the files of a model to share into a folder that is there; see sharing.py."""
    cut = None if model.preprocessing is None else model.preprocessing.to_dict()
    write_folder(folder, describe(model), model.state_dict(), cut)


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


def load_checkpoint(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    trust: Sequence[str] = (),
) -> VSE:
    """The model of one of our checkpoints (also Lightning's `last.ckpt`, or a folder that
    `share_model` wrote), ready to encode.

    Classes of others than vse_exp are built where their package is one of `trust`. Nothing else is
    imported, and nothing read or downloaded, for what stands in the file. Raises UserError for a
    file that is not ours or not complete, and for a device that is not there.
    """
    device, content = find_device(device), read_checkpoint(path)
    try:
        model = _build(content[KEY], list(trust))
    except UserError:
        raise
    except Exception as error:  # what is broken in such a file can break anywhere
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} does not describe a model ({type(error).__name__}: {reason}): it is damaged."
        ) from error
    _fill(model, content, path)
    model.recorded = content.get("extra", {})
    return model.to(device).eval()


def load_weights(model: VSE, path: str | os.PathLike[str]) -> None:
    """Put the weights of a checkpoint into the model that it was made of."""
    _fill(model, read_checkpoint(path), path)


def _fill(model: VSE, content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no weights: it is damaged.")
    # Lightning's checkpoints hold the training module: the model, and maybe its average, inside
    for prefix in ("averaged.module.", "model."):
        inside = [name for name in state if str(name).startswith(prefix)]
        if inside:
            state = {name.removeprefix(prefix): state[name] for name in inside}
            break
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"The weights in {path} do not fit its configuration: {reason}") from error


def _build(about: dict[str, Any], trust: list[str]) -> VSE:
    if about["version"] == 1:
        about = from_version_1(about)
    if about["version"] != 2:
        raise UserError(
            f"The checkpoint is of version {about['version']}, and this program knows 1 and 2: "
            "install a newer vse_exp."
        )
    vocabulary = vocabulary_from_dict(about["vocabulary"], trust)
    model = build(about["model"], vocabulary, about["dim_image"], where="model", trust=trust)
    model.provenance = about["provenance"]
    return model


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of one of our checkpoint files, unpickled as data only, or of a folder to
    share."""
    if os.path.isdir(path):
        about, state = read_folder(Path(path))
        return {KEY: about, "state_dict": state}
    check_sums(path)
    content = load_torch(path)
    if not isinstance(content, dict) or KEY not in content:
        raise UserError(f"{path} was not written by vse_exp: give a checkpoint of this program.")
    return content
