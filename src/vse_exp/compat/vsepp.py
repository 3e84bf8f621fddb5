"""Models of fartashf/vsepp (VSE++) on precomputed features: `model_best.pth.tar` and a vocabulary.

Its ids are 0 <pad>, 1 <start>, 2 <end>, 3 <unk>, and words from 4 (vocab.py); every caption stands
between <start> and <end>.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.models.vse import VSE
from vse_exp.parts import build
from vse_exp.text.tokenizers import Treebank
from vse_exp.text.vocabulary import Vocabulary
from vse_exp.unpickling import Holder, load_data, load_torch, utf8

MARKS = ["<pad>", "<start>", "<end>", "<unk>"]
"""Its first ids; words follow."""
WEIGHTS = {
    "fc.weight": "image_encoder.projection.weight",
    "fc.bias": "image_encoder.projection.bias",
    "embed.weight": "sentence_encoder.embedding.weight",
}
"""Its names and ours, but for `rnn.X`, our `sentence_encoder.recurrence.X`."""
DIMENSIONS = {"fc.weight": 2, "fc.bias": 1, "embed.weight": 2, "rnn.weight_hh_l0": 2}
"""Weights that say how large the model is."""
OPTIONS = {
    "data_name": "",
    "num_layers": 1,
    "no_imgnorm": False,
    "measure": "cosine",
    "use_abs": False,
}
"""Its options that say what the model is, with its defaults."""


def load_vsepp(
    path: str | os.PathLike[str], vocabulary_path: str | os.PathLike[str] | None = None
) -> VSE:
    """Load a VSE++ model; its vocabulary is `vocabulary_path`, or a `*_vocab.pkl` beside it.

    Raises UserError for a file that is missing, broken or asks for code, for a vocabulary that does
    not fit, and for a model that reads raw pictures.
    """
    path = Path(path)
    options, weights = _read(path)
    if vocabulary_path is None:
        vocabulary_path = _find_vocabulary(path.parent, options["data_name"])
    table = weights["embed.weight"]
    words = _words(Path(vocabulary_path), len(table))
    ours = [MARKS.index(mark) for mark in ("<end>", "<unk>", "<start>")]  # behind PAD
    weights["embed.weight"] = torch.cat(
        [torch.zeros_like(table[:1]), table[ours], table[len(MARKS) :]]
    )
    normalized = not options["no_imgnorm"]
    model = build(
        {
            "_target_": "vse_exp.models.vse.VSE",
            "dim": weights["rnn.weight_hh_l0"].shape[1],
            "normalize_images": normalized,
            "unit_images": normalized,
            "similarity": {"_target_": _similarity(options["measure"], path)},
            "absolute": options["use_abs"],
            "encoder": {
                "_target_": "vse_exp.models.rnn.GRU",
                "dim_word": table.shape[1],
                "num_layers": options["num_layers"],
                "recurrent_bias": True,
            },
            "image_encoder": {"_target_": "vse_exp.models.feature_encoders.LinearImageEncoder"},
        },
        Vocabulary(words, Treebank(), ("<start>",)),
        weights["fc.weight"].shape[1],
    )
    try:
        model.load_state_dict({_our_name(name): weight for name, weight in weights.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"The weights in {path} do not fit its options: {reason}") from error
    return model


def _similarity(measure: str, path: Path) -> str:
    known = {"cosine": "vse_exp.similarity.Cosine", "order": "vse_exp.similarity.Order"}
    if measure not in known:
        raise UserError(f"{path} has measure={measure}, and VSE++ has {', '.join(known)}.")
    return known[measure]


def _our_name(name: str) -> str:
    return WEIGHTS.get(name) or name.replace("rnn.", "sentence_encoder.recurrence.")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Its options, and the weights of both sides under its names."""
    content = load_torch(path, [argparse.Namespace])  # which is attributes, no code
    try:
        options = _options(content["opt"])
        images, captions = (
            {str(name): weight for name, weight in state.items()} for state in content["model"]
        )
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} lacks VSE++'s `opt` or `model`, or they are not what it writes: it is of "
            "another program."
        ) from error
    if any(name.startswith("cnn.") for name in images):
        raise UserError(
            f"{path} reads raw pictures through a network of its own (cnn.*): only VSE++ models of "
            "precomputed features can be loaded."
        )
    weights: dict[str, Tensor] = {**images, **captions}
    missing = [name for name, dims in DIMENSIONS.items() if _dimensions(weights.get(name)) != dims]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: it is no model of VSE++.")
    last_layer = f"rnn.weight_hh_l{options['num_layers'] - 1}"
    if last_layer not in weights:
        raise UserError(f"The weights in {path} do not fit its options: {last_layer} is missing.")
    return options, weights


def _dimensions(weight: Any) -> int | None:
    return weight.ndim if isinstance(weight, Tensor) else None


def _options(namespace: Any) -> dict[str, Any]:
    """The options that matter, from VSE++'s command line; TypeError where they are none."""
    if not isinstance(namespace, argparse.Namespace):
        raise TypeError
    options = {key: vars(namespace).get(key, default) for key, default in OPTIONS.items()}
    if any(type(options[key]) is not type(default) for key, default in OPTIONS.items()):
        raise TypeError
    return options


def _find_vocabulary(folder: Path, data_name: str) -> Path:
    named = folder / f"{data_name}_vocab.pkl"
    if named.is_file():
        return named
    found = sorted(folder.glob("*_vocab.pkl"))
    if len(found) != 1:
        raise UserError(
            f"{'Several' if found else 'No'} vocabulary files (*_vocab.pkl) in {folder}: put "
            f"VSE++'s vocab/{named.name} beside the checkpoint."
        )
    return found[0]


def _words(path: Path, rows: int) -> list[str]:
    """Our list of words: <start>, then its words in the order of their ids."""
    vocabulary = load_data(
        path,
        {
            ("__main__", "Vocabulary"): Holder,
            ("vocab", "Vocabulary"): Holder,
            # how Python 2 makes an object before it gives it its attributes
            ("copy_reg", "_reconstructor"): Holder,
            ("__builtin__", "object"): Holder,
        },
    )
    attributes = vocabulary.state if isinstance(vocabulary, Holder) else None
    ids = attributes.get("word2idx") if isinstance(attributes, dict) else None
    if not isinstance(ids, dict) or not all(isinstance(number, int) for number in ids.values()):
        raise UserError(f"{path} holds no vocabulary of VSE++ (no word2idx).")
    by_id = {number: utf8(str(word)) for word, number in ids.items()}
    if sorted(by_id) != list(range(rows)) or list(map(by_id.get, range(len(MARKS)))) != MARKS:
        raise UserError(
            f"{path} has {len(by_id)} words and the model's table {rows} rows: it is the "
            "vocabulary of another model."
        )
    return ["<start>", *(by_id[number] for number in range(len(MARKS), rows))]
