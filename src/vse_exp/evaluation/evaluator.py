"""Evaluating a model on a split: embed both sides, rank, summarise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vse_exp.compat.loading import load_model
from vse_exp.data.layouts import Split
from vse_exp.data.opening import load_split_from_config
from vse_exp.device import find_device
from vse_exp.errors import UserError
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.protocols import Evaluation, evaluate_embeddings
from vse_exp.evaluation.rerank import Bank, Rerank
from vse_exp.evaluation.rows import as_rows
from vse_exp.evaluation.vectors import given_vectors, open_vectors
from vse_exp.models.dual import DualEncoder


class Judged(NamedTuple):
    """A model, and the split on which it is judged, with what its data and it are called."""

    model: DualEncoder
    split: Split
    data: str
    source: str


def open_judged(
    which: str | Sequence[str] | Mapping[str, Any],
    data: Mapping[str, Any],
    split: str,
    device: str = "cpu",
    trust: Sequence[str] = (),
) -> Judged:
    """Of what `load_model` takes; or of a mapping, the files of `given_vectors`, both."""
    if isinstance(which, Mapping):
        if which["captions"] is None:
            raise UserError("Vectors of images and of captions are judged: give captions=FILE.npy.")
        model, found = given_vectors(**which, split=split)
        model.place = find_device(device)
        known = (which.get("data") or {}).get("name")
        source = f"{known} {split}" if known else model.name
        return Judged(model, found, known or model.name, source)
    model = load_model(which, device, trust)
    name = data["name"]
    return Judged(model, load_split_for(model, data, split), name, f"{name} {split}")


def evaluate_model(
    model: DualEncoder,
    split: Split,
    protocol: str = "full",
    n_images: int = 1000,
    rerank: Rerank | None = None,
) -> Evaluation:
    """Evaluate a model on a split."""
    images, captions = embed_split(model, split)
    return evaluate_embeddings(
        images,
        captions,
        split.caption_image,
        protocol=protocol,
        n_images=n_images,
        similarity=model.similarity,
        rerank=rerank,
    )


def load_split_for(model: DualEncoder, config: Mapping[str, Any], name: str) -> Split:
    """The split `name` of a `data` config, its images as the model takes them: features, or
    pictures.

    UserError where features were made otherwise than those that the model was trained on (with
    `allow_feature_mismatch` a warning).
    """
    split = load_split_from_config(config, name, model.preprocessing)
    allow = bool(config.get("allow_feature_mismatch"))
    model.check_features(split.provenance, allow, "data.allow_feature_mismatch")
    return split


def open_bank(which: Any, model: DualEncoder, data: Mapping[str, Any]) -> Bank:
    """The split of `data` with that name, as the model embeds it; or the vectors in the files that
    a mapping names, `images` and `captions`."""
    if isinstance(which, str):
        return embed_bank(model, load_split_for(model, data, which), f"{data['name']} {which}")
    sides = open_vectors(which["images"]), open_vectors(which["captions"])
    return Bank(str(sides[0].files[0]), *(as_rows(side.placed(), "bank") for side in sides))


def embed_bank(model: DualEncoder, split: Split, name: str) -> Bank:
    """The items of a split as the queries of a bank called `name`."""
    return Bank(name, *embed_split(model, split))


def evalrank(
    model: DualEncoder, data: str = "f8k", split: str = "test", data_dir: str | None = None
) -> dict[str, Any]:
    """Metrics of a model on a split of the data set `data` under `data_dir`.

    The original's `evalrank` (evaluation.py). `data_dir` None: the environment's VSE_DATA_DIR,
    else `data`. The built-in set is `data="scenes"`.
    """
    root: Any = data_dir or os.environ.get("VSE_DATA_DIR", "data")
    if data == "scenes" and data_dir is None:
        root = None
    found = load_split_for(model, {"name": data, "root": root, "scenes": {}}, split)
    result = evaluate_model(model, found)
    return result.metrics | {"protocol": f"{data} {split}, {result.protocol}"}
