"""Evaluating models on a split: embed both sides, rank, summarise."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vse_exp.data.layouts import Split
from vse_exp.data.loading import load_split_from_config
from vse_exp.errors import UserError
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.protocols import Evaluation, evaluate_embeddings
from vse_exp.evaluation.rerank import Bank, Rerank
from vse_exp.evaluation.rows import as_rows
from vse_exp.images.provenance import require_compatible
from vse_exp.models.vse import VSE
from vse_exp.parts import part_spec
from vse_exp.similarity import Similarity


def evaluate_model(
    models: Sequence[VSE],
    split: Split,
    protocol: str = "full",
    n_images: int = 1000,
    rerank: Rerank | None = None,
) -> Evaluation:
    """Evaluate a model, or several as an ensemble whose similarity is the mean of theirs."""
    images, captions = embed_split(models, split)
    return evaluate_embeddings(
        images,
        captions,
        split.caption_image,
        protocol=protocol,
        n_images=n_images,
        similarity=common_similarity(models),
        rerank=rerank,
    )


def load_split_for(models: Sequence[VSE], config: Mapping[str, Any], name: str) -> Split:
    """The split `name` of a `data` config, its images as the models take them: features, or
    pictures.

    UserError where they take different ones, and where features were made otherwise than those a
    model was trained on (with `allow_feature_mismatch` a warning).
    """
    kinds = {model.preprocessing for model in models}
    if len(kinds) != 1:
        raise UserError(
            "The models take different images, features and pictures or pictures of several kinds: "
            "evaluate them one by one."
        )
    split = load_split_from_config(config, name, kinds.pop())
    record, allow = split.provenance, bool(config.get("allow_feature_mismatch"))
    for model in models:
        require_compatible(model.provenance, record, allow, "data.allow_feature_mismatch")
    return split


def embed_bank(models: Sequence[VSE], split: Split, name: str) -> Bank:
    """The items of a split as the queries of a bank called `name`."""
    images, captions = embed_split(models, split)
    return Bank(name, as_rows(images, "images"), as_rows(captions, "captions"))


def common_similarity(models: Sequence[VSE]) -> Similarity:
    """The similarity that all models were trained for; UserError where they differ."""
    first, *others = (model.similarity for model in models)
    for other in others:
        if part_spec(other) != part_spec(first):
            names = " and ".join(type(one).__name__ for one in (first, other))
            raise UserError(f"Models of similarities {names} cannot be joined.")
    return first


def evalrank(
    model: VSE, data: str = "f8k", split: str = "test", data_dir: str | None = None
) -> dict[str, Any]:
    """Metrics of a model on a split of the data set `data` under `data_dir`.

    The original's `evalrank` (evaluation.py). `data_dir` None: the environment's VSE_DATA_DIR,
    else `data`. The built-in set is `data="scenes"`.
    """
    root: Any = data_dir or os.environ.get("VSE_DATA_DIR", "data")
    if data == "scenes" and data_dir is None:
        root = None
    found = load_split_for([model], {"name": data, "root": root, "scenes": {}}, split)
    result = evaluate_model([model], found)
    return result.metrics | {"protocol": f"{data} {split}, {result.protocol}"}
