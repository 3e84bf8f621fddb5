"""A model of two towers as the folder of the library that they are of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import torch

from vse_exp.errors import UserError
from vse_exp.models.towers.library import library
from vse_exp.models.vse import VSE
from vse_exp.parts import part_spec
from vse_exp.similarity import Cosine, Logit


def write_library_folder(model: VSE, folder: Path, logit: Logit | None = None) -> str:
    """Write a model without adapters into a folder that is there, to be loaded by `hf:` or
    `openclip:local-dir:` and by those libraries themselves; returns which one.

    `logit`: what training made of similarities. UserError where the model is more, or other, than
    the two towers of one model.
    """
    text, image = model.sentence_encoder.tower_of, model.image_encoder.tower_of
    if text is None or image is None or text[0] != image[0]:
        raise UserError(
            "format=library is for both towers of one model of transformers or OpenCLIP "
            "(model.encoder=tower model.image_encoder=tower): take format=vse_exp."
        )
    cosines = part_spec(model.similarity) == part_spec(Cosine()) and model.unit_images
    if not cosines or model.absolute:
        raise UserError("format=library is for cosines: take format=vse_exp for this model.")
    assert model.preprocessing is not None
    state: dict[str, Any] = {**text[1].state_dict(), **image[1].state_dict()}
    if logit is not None:
        state["logit_scale"] = torch.tensor(math.log(logit.scale))
        state["logit_bias"] = torch.tensor(logit.bias)
    architecture = text[0]
    vocabulary = cast(Any, model.vocabulary)
    own = library(architecture)
    own.write(folder, architecture["config"], state, vocabulary, model.preprocessing)
    return architecture["library"]
