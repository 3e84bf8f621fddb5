"""Evaluating models on a split: embed both sides, rank, summarise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.evaluation.protocols import Evaluation, evaluate_embeddings
from vse_exp.models.vse import VSE


def evaluate_model(
    models: Sequence[VSE], split: Split, protocol: str = "full", n_images: int = 1000
) -> Evaluation:
    """Evaluate a model, or several as an ensemble whose similarity is the mean of theirs.

    A mean of inner products is the inner product of the rows joined and scaled, so an ensemble
    costs no more memory than its members' embeddings.
    """
    similarities = {model.config.similarity for model in models}
    if len(models) > 1 and similarities != {"cosine"}:
        raise UserError("Only models of similarity cosine can be joined: give one checkpoint.")
    images, captions = (np.concatenate(rows, axis=1) for rows in zip(*(
        embed_split(model, split) for model in models
    ), strict=True))  # fmt: skip
    scale = len(models) ** -0.5
    return evaluate_embeddings(
        torch.from_numpy(images * np.float32(scale)),
        torch.from_numpy(captions * np.float32(scale)),
        torch.from_numpy(split.caption_image),
        protocol=protocol,
        n_images=n_images,
        similarity=similarities.pop(),
    )


def embed_split(model: VSE, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of the images (n_images, dim) and captions (n_captions, dim) of a split."""
    return model.encode_images(split.image_features), model.encode_sentences(split.captions)


def evalrank(
    model: VSE, data: str = "f8k", split: str = "test", data_dir: str | None = None
) -> dict[str, Any]:
    """Metrics of a model on a split of the data set `data` under `data_dir`.

    The original's `evalrank` (evaluation.py). `data_dir` None: the environment's VSE_DATA_DIR,
    else `data`. The built-in set is `data="scenes"`.
    """
    import os

    from vse_exp.data.layouts import find_files, load_split

    root: Any = data_dir or os.environ.get("VSE_DATA_DIR", "data")
    if data == "scenes" and data_dir is None:
        from vse_exp.data.scenes import prepare_scenes

        root = prepare_scenes()
    found = load_split(find_files(root, data, split), split)
    result = evaluate_model([model], found)
    return result.metrics | {"protocol": f"{data} {split}, {result.protocol}"}
