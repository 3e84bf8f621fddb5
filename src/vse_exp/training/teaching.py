"""What a loss that learns from known vectors is told of the training data."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from vse_exp.compat.loading import load_model
from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.data.dealing import Dealer
from vse_exp.data.layouts import Split
from vse_exp.data.opening import split_fingerprint
from vse_exp.data.scenes.build import cache_folder
from vse_exp.errors import UserError
from vse_exp.evaluation.evaluator import load_split_for
from vse_exp.images.rows import Stretch
from vse_exp.models.dual import DualEncoder
from vse_exp.sharding import rows_once
from vse_exp.training.module import RetrievalModule

log = logging.getLogger(__name__)

FROZEN = "frozen"


def teach(
    module: RetrievalModule,
    datamodule: RetrievalDataModule,
    teachers: str | Sequence[str] | None,
    device: torch.device,
) -> None:
    """Tell the loss the embeddings of all training images and captions by `teachers`, checkpoints
    and of several their ensemble, or `frozen`: the image features themselves and the vectors of
    the model's own frozen text model. UserError where the loss needs them and they are not said,
    or the other way round."""
    if module.loss.taught != (teachers is not None):
        raise UserError(
            "The loss learns from teachers: set teachers=[FILE.ckpt] or teachers=frozen."
            if module.loss.taught
            else f"teachers={teachers} is for a loss that learns from them, such as loss=distilled."
        )
    if teachers is None:
        return
    if datamodule.pools is not None:
        raise UserError(f"teachers={teachers} needs training data that lie in one file a side.")
    if teachers == FROZEN:
        images, captions = _frozen(module, datamodule)
    else:
        teacher = load_model([teachers] if isinstance(teachers, str) else list(teachers), device)
        split = load_split_for(teacher, datamodule.config, "train")
        images, captions = _embedded(teacher, split, split_fingerprint(datamodule.config, "train"))
    dealer = Dealer(datamodule.config, datamodule.vocabulary, datamodule.seed)
    kept = torch.from_numpy(dealer.kept(datamodule.tokenized("train")))
    module.loss.learn_from(images, captions[kept])
    # DDP would send all buffers of the first process anew at every update
    told = {id(buffer) for buffer in module.loss.learnt_from}
    names = [name for name, buffer in module.named_buffers() if id(buffer) in told]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


def _embedded(
    teacher: DualEncoder, split: Split, fingerprint: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """The teacher's rows of all images and captions, which all processes embed together and keep in
    the cache folder. What tells a teacher: its weights, and what it gives for a caption."""
    cache = cache_folder() / "text"
    told = [teacher.fingerprint(), teacher.encode_sentences(split.captions[:1]).tolist()]
    name = hashlib.sha256(json.dumps([*told, fingerprint], default=str).encode()).hexdigest()[:24]

    def of_images(rows: range) -> np.ndarray:
        return teacher.encode_images(Stretch(split.image_features, slice(rows.start, rows.stop)))

    def of_captions(rows: range) -> np.ndarray:
        log.info("the teachers read captions %d to %d, once", rows.start, rows.stop)
        some = split.captions[rows.start : rows.stop]
        teacher.remember(some, cache)
        return teacher.encode_sentences(some)

    images = rows_once(cache / f"teacher-{name}-images", len(split.image_features), of_images)
    captions = rows_once(cache / f"teacher-{name}-captions", len(split.captions), of_captions)
    return torch.from_numpy(images), torch.from_numpy(captions)


def _frozen(module: RetrievalModule, datamodule: RetrievalDataModule) -> tuple[Tensor, Tensor]:
    split = datamodule.split("train")
    captions = module.model.sentence_encoder.frozen_vectors(datamodule.tokenized("train"))
    if captions is None or datamodule.preprocessing is not None:
        raise UserError(
            "teachers=frozen needs image features and a frozen text model (model.encoder=fused or "
            "pretrained): choose these, or give checkpoints as teachers."
        )
    rows = split.image_features.rows(slice(None)).float()
    return normalize(rows if rows.dim() == 2 else rows.mean(1), dim=-1), captions
