"""Loading a model, whoever wrote it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vse_exp.alive import doing
from vse_exp.device import find_device
from vse_exp.errors import UserError
from vse_exp.images.provenance import read_record
from vse_exp.models.checkpoint import load_checkpoint
from vse_exp.models.dual import DualEncoder
from vse_exp.models.ensemble import Ensemble
from vse_exp.models.onnx_export import run_in_onnx
from vse_exp.models.others import load_other, prefix_of
from vse_exp.models.sharing import is_shared
from vse_exp.models.vse import VSE
from vse_exp.runtime import Runtime, find_place


def load_model(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    device: str | torch.device = "cpu",
    trust: Sequence[str] = (),
    runtime: Runtime = "torch",
) -> DualEncoder:
    """Load a model, ready to encode: our checkpoint (also Lightning's `last.ckpt`) or a folder that
    `vse_exp.export` wrote, the original's `X.npz` with its two pickles, or VSE++'s
    `model_best.pth.tar` with its vocabulary beside it; one of another program by its prefix,
    `openclip:…`, `hf:…`, `st:…` or `python:package.module:name`; of a list of these their ensemble.

    `device` may be `auto`: a GPU where there is one; with `runtime` onnx its rows are computed by
    ONNX Runtime on the CPU. Nothing is imported, read or downloaded since the file says so; the
    classes of a model that is made of others' parts are built where their packages are named in
    `trust`. Raises UserError for a file that is none of these.
    """
    if not isinstance(source, str | os.PathLike):
        models = [load_model(one, device, trust, runtime) for one in source]
        return Ensemble(models) if len(models) > 1 else models[0]
    text, device = str(source), find_place(device, runtime)
    doing(f"reading {text}")
    prefix = None if Path(source).exists() else prefix_of(text)
    if prefix is None:
        model = load_file(source, device, trust)
        if runtime == "onnx":
            run_in_onnx(model)
    elif runtime == "onnx":
        raise UserError(f"runtime=onnx is for vse_exp's own models: leave it out for {text}.")
    else:
        model = load_other(text, prefix, trust).to(device)
    model.name = text if prefix else Path(source).resolve().name
    return model


def record_of(source: str, trust: Sequence[str] = ()) -> dict[str, Any]:
    """How the features were made of a model, or those that a record (`.json`) is of. UserError
    where that is not known."""
    if source.endswith(".json"):
        return read_record(source)
    record = load_model(source, "cpu", trust).provenance
    if record is None:
        raise UserError(
            f"{source} does not record how its features were made: say backbone=… instead."
        )
    return record


def load_file(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    trust: Sequence[str] = (),
) -> VSE:
    """The model of one file (or folder), ours or of those programs whose files we read."""
    path, device = Path(path), find_device(device)
    if path.is_dir():
        if is_shared(path):
            return load_checkpoint(path, device, trust)
        raise UserError(
            f"{path} is a folder, and none that vse_exp.export wrote: of a run give "
            "checkpoints/best.ckpt in it, of another library's model hf:FOLDER or "
            "openclip:local-dir:FOLDER."
        )
    if not path.is_file():
        raise UserError(f"No checkpoint {path}: give the path of a trained model.")
    if path.suffix == ".npz":
        from vse_exp.compat.original import load_original

        return load_original(path).to(device).eval()
    if path.name.endswith(".pth.tar"):
        from vse_exp.compat.vsepp import load_vsepp

        return load_vsepp(path).to(device).eval()
    return load_checkpoint(path, device, trust)
