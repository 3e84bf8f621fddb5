"""Text models of others as folders: `config.json`, `tokenizer.json` and weights.

They are read when a training starts, by the name that its user typed, and never for a checkpoint.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vse_exp.errors import UserError
from vse_exp.text.subwords import SubwordVocabulary

KEY = "model.encoder.model"
POOLINGS = {
    "cls_token": "FirstPooling", "mean_tokens": "MeanPooling", "max_tokens": "MaxPooling"
}  # fmt: skip
"""What sentence-transformers calls a pooling, and our class."""


def model_folder(name: str) -> Path:
    """Where the model `name` lies: a folder, `package:NAME` for one inside an installed Python
    package, or a name on the Hugging Face hub, which is fetched if it is not there yet.
    """
    folder = Path(name)
    if name.startswith("package:"):
        package = name.removeprefix("package:")
        # a name with dots would import what stands before the dot
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        if found is None or not found.submodule_search_locations:
            raise UserError(f"{KEY}={name}: no package {package}: pip install it.")
        inside = Path(found.submodule_search_locations[0])
        configs = sorted(inside.rglob("config.json"), key=lambda path: len(path.parts))
        folder = configs[0].parent if configs else inside
    elif not folder.exists() and name.count("/") == 1:
        folder = _from_hub(name)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{KEY}={name}: no config.json in {folder}: give the folder of a model, "
            "package:NAME, or a name on the Hugging Face hub."
        )
    return folder


def _from_hub(name: str) -> Path:
    needs_transformers()
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "1_Pooling/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # no network, no such model, no right to it: many kinds
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{KEY}={name} cannot be fetched: {reason}") from error


def read_architecture(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The transformer's configuration of a model, and the node of its own pooling."""
    folder = model_folder(name)
    pooling = "MeanPooling"
    chosen = folder / "1_Pooling" / "config.json"
    if chosen.is_file():
        modes = json.loads(chosen.read_text(encoding="utf-8"))
        for mode, ours in POOLINGS.items():
            if modes.get(f"pooling_mode_{mode}"):
                pooling = ours
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return architecture, {"_target_": f"vse_exp.models.pooling.{pooling}"}


def width_of(architecture: Mapping[str, Any]) -> int:
    """Size of the transformer's states, by the names that its configuration may have for it."""
    sizes = [architecture[key] for key in ("hidden_size", "dim", "d_model") if key in architecture]
    if not sizes or not isinstance(sizes[0], int):
        raise UserError("The text model's architecture does not say its hidden_size.")
    return sizes[0]


def build_transformer(architecture: Mapping[str, Any]) -> nn.Module:
    """It with random weights, without the layer behind it that is made for another task."""
    needs_transformers()
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**architecture)
    transformer = AutoModel.from_config(config, dtype=torch.float32)
    if hasattr(transformer, "pooler"):
        transformer.pooler = None
    return transformer


def read_subwords(name: str) -> SubwordVocabulary:
    """The tokenizer of a model."""
    folder = model_folder(name)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise UserError(f"{KEY}={name}: no tokenizer.json in {folder}.")
    limits = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    max_length = limits.get("max_position_embeddings", 512)
    limit = folder / "sentence_bert_config.json"
    if limit.is_file():
        asked = json.loads(limit.read_text(encoding="utf-8")).get("max_seq_length")
        max_length = min(max_length, asked or max_length)
    return SubwordVocabulary(file.read_text(encoding="utf-8"), max_length)


def needs_transformers() -> None:
    """UserError where the library that builds them is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise UserError(
            "model.encoder=pretrained needs the extra `text`: pip install 'vse_exp[text]'."
        )
