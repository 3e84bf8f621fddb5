"""Names of keys that people know from before or from elsewhere, and those of today."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from vse_exp.errors import UserError

MOVED = {
    "model.dropout": "model.encoder.dropout",
    "model.word_dropout": "model.encoder.word_dropout",
    "model.dim_word": "model.encoder.dim_word",
    "model.num_layers": "model.encoder.num_layers",
    "model.bidirectional": "model.encoder.bidirectional",
    "model.pooling": "model.encoder.pooling",
    "model.recurrent_bias": "model.encoder.recurrent_bias",
    "model.word_vectors": "model.encoder.word_vectors",
    "model.init": "model.encoder.init",
    "model.text_model": "model.encoder.model",
    "model.text_frozen": "model.encoder.frozen",
    "model.text_head": "model.encoder.head",
    "model.center_text": "model.encoder.center",
    "model.mlp_hidden": "model.image_encoder.hidden",
    "model.mlp_dropout": "model.image_encoder.hidden_dropout",
    "model.image_dropout": "model.image_encoder.dropout",
    "model.image_power": "model.image_encoder.power",
    "model.center_images": "model.image_encoder.center",
    "model.image_pooling": "model.image_encoder.pooling",
    "model.region_dropout": "model.image_encoder.region_dropout",
    "model.backbone": "model.image_encoder.backbone",
    "model.backbone_weights": "model.image_encoder.weights",
    "model.backbone_transform": "model.image_encoder.transform",
    "model.backbone_head": "model.image_encoder.head",
    "model.unfreeze_epoch": "model.image_encoder.unfreeze_epoch",
    "model.dim_image": None,
    "data.vocabulary.tokenization": "data.vocabulary.tokenizer",
    "data.vocabulary.language": "data.vocabulary.tokenizer.language",
}
"""Keys of former versions, and where they stand now; None: read from the data."""

USUAL = {
    "lr": "lrate",
    "learning_rate": "lrate",
    "epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "bs": "batch_size",
    "batchsize": "batch_size",
    "workers": "num_workers",
    "n_workers": "num_workers",
    "gpus": "devices",
    "gpu": "device",
    "cuda": "device",
    "wd": "weight_decay",
    "clip": "grad_clip",
    "gradient_clip_val": "grad_clip",
    "ckpt": "checkpoint",
    "model_path": "checkpoint",
    "weights_path": "checkpoint",
    "out": "output",
    "output_dir": "output",
    "dataset": "data",
    "embed_dim": "model.dim",
    "hidden_size": "model.dim",
    "margin": "loss.margin",
    "temperature": "loss.temperature",
    "ncon": "loss.ncon",
    "random_seed": "seed",
    "top_k": "k",
    "topk": "k",
    "dispFreq": "disp_freq",
    "validFreq": "valid_freq",
    "val_freq": "valid_freq",
    "val_check_interval": "valid_freq",
    "saveto": "paths.run_dir",
    "run_dir": "paths.run_dir",
    "reload_": "resume",
}
"""What people try, and the key that they mean: its whole name, or the end of it."""


def unknown_key(
    key: str, known: Iterable[str], where: str = "", values: Mapping[str, Any] | None = None
) -> UserError:
    """That there is no such key, with its new name if it has moved, else the one that is meant:
    as it is usually called, of that name elsewhere in `values`, or the nearest."""
    names = [name for name in known if not name.startswith("_")]
    told = joined(where, key)
    if told in MOVED:
        place = MOVED[told] or "not said any more, but read from the data"
        return UserError(f"{told} has moved: it is {place} now.")
    meant = USUAL.get(key, key)
    close = difflib.get_close_matches(meant, names, n=1)
    elsewhere = [] if where else _keys_named(meant, values or {})
    if meant in names:
        hint = f"did you mean {joined(where, meant)}?"
    elif elsewhere:
        hint = f"did you mean {listed(elsewhere, 'or')}?"
    elif not where and meant != key and meant.partition(".")[0] in names:
        hint = f"did you mean {meant}?"
    elif close:
        hint = f"did you mean {joined(where, close[0])}?"
    else:
        hint = f"there are {listed(names)}." if names else f"{where} has no keys."
        hint = hint if where else "--help tells those that there are."
    return UserError(f"Unknown key {told}: {hint}")


def _keys_named(name: str, values: Mapping[str, Any], where: str = "") -> list[str]:
    """The full names of the keys inside `values` that end in `name`."""
    found = [joined(where, name)] if where and name in values else []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _keys_named(name, value, joined(where, str(key)))
    return found


def listed(names: Iterable[str], word: str = "and") -> str:
    """`a, b and c`."""
    *before, last = names
    return f"{', '.join(before)} {word} {last}" if before else last


def joined(*names: str) -> str:
    """Names with a dot between them, without the empty ones."""
    return ".".join(name for name in names if name)
