"""A model as a folder that others load: what a checkpoint holds, as JSON and safetensors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.files import MAX_RECORD, read_json, read_text
from vse_exp.images.weights import read_weights

CONFIG = "config.json"
"""The parts by class and keys; `"model_type": "vse_exp"` tells it from other libraries'."""
WEIGHTS = "model.safetensors"
VOCABULARY = "vocabulary.json"
TOKENIZER = "tokenizer.json"
"""Of a model that reads word pieces: their tokenizer, as the library `tokenizers` has it."""
IMAGES = "images.json"
"""How its features were made, or how its pictures are cut."""
FILES = (CONFIG, WEIGHTS, VOCABULARY, TOKENIZER, IMAGES)
_KIND = "vse_exp"


def is_shared(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a model that `write_folder` wrote."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        return False
    content = read_json(path, MAX_RECORD)
    return isinstance(content, dict) and content.get("model_type") == _KIND


def write_folder(
    folder: Path, about: Mapping[str, Any], state: Mapping[str, Tensor], cut: dict[str, Any] | None
) -> None:
    """Write what a checkpoint's `describe` says and the weights into a folder that is there; `cut`:
    how pictures are cut, for a model that takes them."""
    from safetensors.torch import save_file

    rest = {**about}
    vocabulary, provenance = dict(rest.pop("vocabulary")), published(rest.pop("provenance"))
    if (pieces := vocabulary.pop(_PIECES, None)) is not None:
        (folder / TOKENIZER).write_text(pieces, encoding="utf-8")
    _write(folder / VOCABULARY, vocabulary)
    _write(folder / CONFIG, {"model_type": _KIND, **published(rest)})
    _write(folder / IMAGES, {"features": provenance} if cut is None else {"pictures": cut})
    # what shares memory (tied weights) is written twice: safetensors knows no ties
    whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})


_PIECES = "tokenizer_json"
_PLACE = re.compile(
    r"""(?<![\w.~/])(?:~|\.{1,2})?/(?![/\s])(?:[^,\[\]{}'"]*/)?([^,\[\]{}'"/]+)/?"""
)


def published(value: Any) -> Any:
    """Plain data in which paths of this machine, absolute or from `..`, are their last names."""
    if isinstance(value, str):
        return _PLACE.sub(r"\1", value)
    if isinstance(value, Mapping):
        return {key: published(one) for key, one in value.items()}
    return [published(one) for one in value] if isinstance(value, list | tuple) else value


def _write(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_folder` was given, as data only. UserError where a file is missing or broken."""
    about = read_json(folder / CONFIG, MAX_RECORD)
    vocabulary = read_json(folder / VOCABULARY)
    images = read_json(folder / IMAGES, MAX_RECORD)
    if not all(isinstance(one, dict) for one in (about, vocabulary, images)):
        raise UserError(f"The files in {folder} are no model of vse_exp: write them again.")
    if (folder / TOKENIZER).is_file():
        vocabulary[_PIECES] = read_text(folder / TOKENIZER)
    about |= {"vocabulary": vocabulary, "provenance": images.get("features")}
    return about, read_weights(folder / WEIGHTS)


def push_folder(folder: Path, name: str, private: bool) -> str:
    """Upload a folder as the repository `name` of the Hugging Face hub; its address. UserError
    where that fails."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UserError("push=… needs the extra `hf`: pip install 'vse_exp[hf]'.") from error
    try:
        api = HfApi()
        repository = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository.repo_id)
    except Exception as error:  # no network, no right to it, no such name: many kinds
        reason = " ".join(str(error).split())[:250].rstrip(".")
        raise UserError(
            f"Cannot push to {name} ({type(error).__name__}: {reason}): log in with `hf auth "
            f"login`, and upload {folder}, which is complete."
        ) from error
    return str(repository)
