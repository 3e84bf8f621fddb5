"""Models of ryankiros/visual-semantic-embedding: `X.npz`, `X.npz.pkl`, `X.npz.dictionary.pkl`.

Its ids are 0 <eos>, 1 unknown, and words from 2 (vocab.py); ours have PAD before them, so that
its row i is our row i + 1.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.models.vse import VSE
from vse_exp.parts import build, part_spec
from vse_exp.text.tokenizers import Whitespace
from vse_exp.text.vocabulary import FIRST_WORD, Vocabulary
from vse_exp.unpickling import load_data, utf8

log = logging.getLogger(__name__)

SIZES = ("n_words", "dim", "dim_word", "dim_image")
ENCODERS = {"bow": "vse_exp.models.bow.BagOfWords", "gru": "vse_exp.models.rnn.GRU"}
IMAGE_ENCODER = "vse_exp.models.feature_encoders.LinearImageEncoder"
EMBEDDING = "sentence_encoder.embedding.weight"
RECURRENCE = "sentence_encoder.recurrence."
IMAGE = "image_encoder.projection."


def load_original(path: str | os.PathLike[str]) -> VSE:
    """Load a model that the original wrote (model.py, train.py), bow or gru.

    The two rarest words are unknown, as there: its table is two rows short. Raises UserError where
    one of the three files is missing, broken, or does not fit the others.
    """
    options = _options(f"{path}.pkl")
    vocabulary = Vocabulary(_words(f"{path}.dictionary.pkl", options["n_words"]), Whitespace())
    encoder: dict[str, Any] = {"_target_": ENCODERS[options["encoder"]]}
    if options["encoder"] == "gru":
        encoder["dim_word"] = options["dim_word"]
    weights = _weights(Path(path), _shapes(options))
    model = build(
        {
            "_target_": "vse_exp.models.vse.VSE",
            "dim": options["dim"],
            "normalize_images": False,
            "encoder": encoder,
            "image_encoder": {"_target_": IMAGE_ENCODER},
        },
        vocabulary,
        options["dim_image"],
    )
    model.load_state_dict(to_state_dict(weights))
    return model


def to_state_dict(weights: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The original's parameters under our names (gates: reset, update, candidate)."""
    table = weights["Wemb"]
    state = {
        EMBEDDING: np.concatenate([np.zeros_like(table[:1]), table]),
        IMAGE + "weight": weights["ff_image_W"].T,
        IMAGE + "bias": weights["ff_image_b"],
    }
    if "encoder_W" in weights:
        for ours, both, candidate in (("ih", "W", "Wx"), ("hh", "U", "Ux")):
            rows = [weights[f"encoder_{both}"].T, weights[f"encoder_{candidate}"].T]
            state[f"{RECURRENCE}weight_{ours}_l0"] = np.concatenate(rows)
        bias = np.concatenate([weights["encoder_b"], weights["encoder_bx"]])
        state[RECURRENCE + "bias_ih_l0"] = bias
        state[RECURRENCE + "bias_hh_l0"] = np.zeros_like(bias)
    return {name: torch.from_numpy(np.array(array)) for name, array in state.items()}


def from_state_dict(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Our parameters under the original's names; the inverse of `to_state_dict`."""
    arrays = {name: tensor.detach().cpu().float().numpy() for name, tensor in state.items()}
    weights = {
        "Wemb": arrays[EMBEDDING][1:],
        "ff_image_W": arrays[IMAGE + "weight"].T,
        "ff_image_b": arrays[IMAGE + "bias"],
    }
    if RECURRENCE + "weight_ih_l0" in arrays:
        dim = arrays[RECURRENCE + "weight_hh_l0"].shape[1]
        for ours, both, candidate in (("ih", "W", "Wx"), ("hh", "U", "Ux")):
            matrix = arrays[f"{RECURRENCE}weight_{ours}_l0"]
            weights[f"encoder_{both}"] = matrix[: 2 * dim].T
            weights[f"encoder_{candidate}"] = matrix[2 * dim :].T
        bias = arrays[RECURRENCE + "bias_ih_l0"] + arrays[RECURRENCE + "bias_hh_l0"]
        weights["encoder_b"], weights["encoder_bx"] = bias[: 2 * dim], bias[2 * dim :]
    return {name: np.ascontiguousarray(array) for name, array in weights.items()}


def write_original(model: VSE, path: str | os.PathLike[str]) -> None:
    """Write the three files, which the original's `tools.load_model` reads (Python 2 pickles).

    Words that are not in our vocabulary, as the two rarest of a model that came from there, are
    left out of the dictionary: the original takes them for unknown too. Raises UserError for a
    model that the original cannot express.
    """
    encoder = _expressible(model)
    if not isinstance(model.vocabulary.tokenizer, Whitespace):
        log.warning(
            "The original cuts captions at white space and nothing else: give it those words "
            "that model.vocabulary.tokenize(caption) makes, joined by blanks."
        )
    weights: dict[str, Any] = from_state_dict(model.state_dict())
    words = model.vocabulary.words
    options = {
        "n_words": len(words) + FIRST_WORD - 1,
        "dim": model.dim,
        "dim_word": weights["Wemb"].shape[1],
        "dim_image": model.dim_image,
        "encoder": encoder,
    }
    dictionary = {word: index for index, word in enumerate(words, start=2)}
    with atomic_path(path) as temporary:
        np.savez(temporary, **weights)
    for name, content in (
        (f"{path}.pkl", _pickle_options(options)),
        (f"{path}.dictionary.pkl", _pickle_dictionary(dictionary)),
    ):
        with atomic_path(name) as temporary:
            temporary.write_bytes(content)


def _expressible(model: VSE) -> str:
    """The original's name of the model's encoder; UserError for what it does not have."""
    spec = part_spec(model)
    encoder, images = spec["encoder"], spec["image_encoder"]
    similarity = _class(part_spec(model.similarity))
    name = {target: name for name, target in ENCODERS.items()}.get(encoder["_target_"])
    own_pooling = "SumPooling" if name == "bow" else "LastPooling"
    pooling = _class(encoder.get("pooling") or {"_target_": own_pooling})
    bias = model.state_dict().get(RECURRENCE + "bias_hh_l0")
    for reason, holds in {
        f"encoder {_class(encoder)}": name is None,
        f"pooling {pooling}": name is not None and pooling != own_pooling,
        "second direction": bool(encoder.get("bidirectional")),
        "second layer": encoder.get("num_layers", 1) != 1,
        f"image encoder {_class(images)}": images["_target_"] != IMAGE_ENCODER,
        "centred or power-normalised features": bool(images.get("center"))
        or images.get("power", 1) != 1,
        f"similarity {similarity}": similarity != "Cosine",
        "absolute values of embeddings": model.absolute,
        "images without unit norm": not model.unit_images,
        "words before each caption": bool(model.vocabulary.prefix),
        "a second bias in the recurrence": bias is not None and bool(bias[2 * model.dim :].any()),
    }.items():
        if holds:
            raise UserError(f"The original has no {reason}: the model cannot be written so.")
    assert name is not None
    return name


def _class(node: Mapping[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _options(path: str) -> dict[str, Any]:
    """The options that say what the model is; there are others, not always the same."""
    found = load_data(path)
    options = found if isinstance(found, dict) else {}
    wrong = [key for key in SIZES if not isinstance(options.get(key), int)]
    wrong += [key for key in SIZES if key not in wrong and not 0 < options[key] < 1 << 31]
    if options.get("encoder") not in ("bow", "gru"):
        wrong.append("encoder")
    if wrong:
        raise UserError(
            f"{path} does not say which {', '.join(wrong)} the model has: it is no option file of "
            "the original."
        )
    return options


def _shapes(options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The arrays that `X.npz` holds, beside others (model.py, `init_params`)."""
    n_words, dim, dim_word, dim_image = (options[key] for key in SIZES)
    shapes: dict[str, tuple[int, ...]] = {
        "Wemb": (n_words, dim_word),
        "ff_image_W": (dim_image, dim),
        "ff_image_b": (dim,),
    }
    if options["encoder"] == "gru":
        for name, rows in {"W": (dim_word,), "U": (dim,), "b": ()}.items():
            shapes[f"encoder_{name}"] = (*rows, 2 * dim)
            shapes[f"encoder_{name}x"] = (*rows, dim)
    return shapes


def _weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    try:
        # opened here, as numpy leaves a file open that is broken
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in shapes if name in arrays.files}
    except Exception as error:  # zipfile and numpy raise many kinds for a broken file
        raise UserError(f"{path} is no readable .npz ({error}).") from error
    for name, shape in shapes.items():
        if name not in weights:
            raise UserError(f"{path} has no {name}, which its options ask for.")
        found = weights[name]
        if found.shape != shape or found.dtype.kind != "f":
            raise UserError(
                f"{name} of {path} is {found.dtype} {found.shape}, and its options ask for "
                f"{shape}: the files are of different models."
            )
    return weights


def _words(path: str, n_words: int) -> list[str]:
    """Words by id; those whose id lies outside the table are left out, and so unknown."""
    dictionary = load_data(path)
    if not isinstance(dictionary, dict) or not all(isinstance(i, int) for i in dictionary.values()):
        raise UserError(f"{path} is no dictionary of words.")
    by_id = {number: utf8(str(word)) for word, number in dictionary.items()}
    try:
        return [by_id[number] for number in range(2, n_words)]
    except KeyError as error:
        raise UserError(f"{path} has no word with id {error}: it is of another model.") from None


def _pickle_options(options: Mapping[str, int | str | None]) -> bytes:
    """A dictionary as Python 2 writes it in protocol 0, so with byte strings."""
    items = (b"S%s\n%ss" % (_quoted(key), _scalar(value)) for key, value in options.items())
    return b"(d" + b"".join(items) + b"."


def _pickle_dictionary(dictionary: Mapping[str, int]) -> bytes:
    """An OrderedDict of byte strings and ints in protocol 0."""
    pairs = (b"(lS%s\na%saa" % (_quoted(word), _scalar(i)) for word, i in dictionary.items())
    return b"ccollections\nOrderedDict\n((l" + b"".join(pairs) + b"tR."


def _quoted(text: str) -> bytes:
    return repr(text.encode("utf-8"))[1:].encode("ascii")


def _scalar(value: int | str | None) -> bytes:
    return b"I%d\n" % value if isinstance(value, int) else b"S%s\n" % _quoted(str(value))
