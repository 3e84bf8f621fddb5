"""What a loss that learns from known vectors is told of the training data."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from vse_exp.compat.loading import load_model
from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.data.dealing import Dealer
from vse_exp.errors import UserError
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.evaluator import load_split_for
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
        log.info("the teachers read %d captions, once", len(split.captions))
        images, captions = (rows.cpu() for rows in embed_split(teacher, split))
    dealer = Dealer(datamodule.config, datamodule.vocabulary, datamodule.seed)
    kept = torch.from_numpy(dealer.kept(datamodule.tokenized("train")))
    module.loss.learn_from(images, captions[kept])
    # each process has them: DDP would send all buffers of the first anew at every update
    known = [f"loss.{name}" for name, _ in module.loss.named_buffers() if "known_" in name]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, known)


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
