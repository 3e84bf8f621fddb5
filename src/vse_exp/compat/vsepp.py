"""Models of fartashf/vsepp (VSE++) on precomputed features: `model_best.pth.tar` and a vocabulary.

Its ids are 0 <pad>, 1 <start>, 2 <end>, 3 <unk>, and words from 4 (vocab.py); every caption stands
between <start> and <end>.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor

from vse_exp.compat.unpickling import Holder, load_data, utf8
from vse_exp.data.vocabulary import Vocabulary
from vse_exp.errors import UserError
from vse_exp.models.config import ModelConfig
from vse_exp.models.vse import VSE

START, END, UNKNOWN, FIRST = 1, 2, 3, 4
"""Its ids."""
WEIGHTS = {
    "fc.weight": "image_encoder.projection.weight",
    "fc.bias": "image_encoder.projection.bias",
    "embed.weight": "sentence_encoder.embedding.weight",
}
"""Its names and ours, but for `rnn.X`, our `sentence_encoder.recurrence.X`."""


def load_vsepp(
    path: str | os.PathLike[str], vocabulary_path: str | os.PathLike[str] | None = None
) -> VSE:
    """Load a VSE++ model; its vocabulary is `vocabulary_path`, or a `*_vocab.pkl` beside it.

    Raises UserError for a file that is missing, broken or asks for code, for a vocabulary that does
    not fit, and for a model that reads raw pictures.
    """
    path = Path(path)
    options, weights = _read(path)
    name = str(getattr(options, "data_name", ""))
    if vocabulary_path is None:
        vocabulary_path = _find_vocabulary(path.parent, name)
    table = weights["embed.weight"]
    words = _words(Path(vocabulary_path), len(table))
    weights["embed.weight"] = torch.cat(
        [torch.zeros_like(table[:1]), table[[END, UNKNOWN, START]], table[FIRST:]]
    )
    normalized = not getattr(options, "no_imgnorm", False)
    config = ModelConfig.from_dict(
        {
            "encoder": "gru",
            "dim": weights["rnn.weight_hh_l0"].shape[1],
            "dim_word": table.shape[1],
            "dim_image": weights["fc.weight"].shape[1],
            "num_layers": int(getattr(options, "num_layers", 1)),
            "recurrent_bias": True,
            "normalize_images": normalized,
            "unit_images": normalized,
            "similarity": str(getattr(options, "measure", "cosine")),
            "absolute": bool(getattr(options, "use_abs", False)),
        }
    )
    model = VSE(config, Vocabulary(words, "ptb", ("<start>",)))
    try:
        model.load_state_dict({_our_name(name): weight for name, weight in weights.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"The weights in {path} do not fit its options: {reason}") from error
    return model


def _our_name(name: str) -> str:
    return WEIGHTS.get(name) or name.replace("rnn.", "sentence_encoder.recurrence.")


def _read(path: Path) -> tuple[argparse.Namespace, dict[str, Tensor]]:
    """Its options, and the weights of both sides under its names."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain attributes, no code
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{path} is no readable VSE++ checkpoint ({reason}).") from error
    try:
        options = content["opt"]
        images, captions = (dict[str, Tensor](state) for state in content["model"])
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path} lacks VSE++'s `opt` and `model`: it is of another program.") from (
            error
        )
    if any(name.startswith("cnn.") for name in images):
        raise UserError(
            f"{path} reads raw pictures through a network of its own (cnn.*): only VSE++ models of "
            "precomputed features can be loaded."
        )
    weights: dict[str, Tensor] = {**images, **captions}
    needed = [*WEIGHTS, "rnn.weight_hh_l0"]
    missing = [name for name in needed if not isinstance(weights.get(name), Tensor)]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: it is no model of VSE++.")
    return options, weights


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
    if sorted(by_id) != list(range(rows)) or by_id[START] != "<start>":
        raise UserError(
            f"{path} has {len(by_id)} words and the model's table {rows} rows: it is the "
            "vocabulary of another model."
        )
    return ["<start>", *(by_id[number] for number in range(FIRST, rows))]
