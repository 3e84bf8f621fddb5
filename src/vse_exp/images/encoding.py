"""Features of a few pictures at once, as a query needs them, by the backbone of a feature file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.images.backbones import Backbone, build_backbone
from vse_exp.images.decoding import Picture, open_picture
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.runtime import Runtime


def picture_features(
    backbone: Backbone,
    pictures: Sequence[Picture],
    unit_norm: bool = True,
    batch_size: int = 32,
) -> np.ndarray:
    """Features float32 (n, dim), or (n, 1 + grid**2, dim), of open pictures, files' contents or
    paths, views averaged.

    Raises UserError for a picture that cannot be read.
    """
    rows = [np.empty((0, *backbone.row_shape), np.float32)]
    for start in range(0, len(pictures), batch_size):
        images = map(open_picture, pictures[start : start + batch_size])
        views = [backbone.preprocessing.views_of(image) for image in images]
        features = backbone.features(torch.stack(views)).mean(1).cpu()
        rows.append((normalize(features, dim=-1) if unit_norm else features).numpy())
    return np.concatenate(rows)


def backbone_of(
    provenance: dict[str, Any], weights: str | None = None, runtime: Runtime = "torch"
) -> Backbone:
    """The backbone that made the recorded features, with the same weights and preprocessing.

    `weights`: where they lie now, if elsewhere. UserError where those found are others.
    """
    if missing := {"transform", "weights", "weights_sha256"} - provenance.keys():
        raise UserError(
            f"The record of the features lacks {', '.join(sorted(missing))}, so no others can be "
            "made like them: extract them again with `python -m vse_exp.extract`."
        )
    transform = Preprocessing.from_dict(provenance["transform"]).to_dict()
    seed = provenance.get("seed", 0)
    backbone = build_backbone(
        provenance["backbone"],
        weights or provenance["weights"],
        transform,
        seed,
        provenance.get("grid"),
        runtime,
    )
    if backbone.weights_sha256 != provenance["weights_sha256"]:
        raise UserError(
            f"The weights {backbone.weights} of {backbone.name} are not those that the features "
            "were made with: give weights=FILE with the same."
        )
    return backbone
