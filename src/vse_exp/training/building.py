"""What a training run is made of, built from its config."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import torch
from omegaconf import DictConfig
from torch import Tensor

from vse_exp.cli import plain
from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.data.scenes.build import cache_folder
from vse_exp.errors import UserError
from vse_exp.models.image import Blocks, ImageEncoder
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.models.vse import VSE
from vse_exp.optimizers import build_optimizer
from vse_exp.parts import build, check, locate
from vse_exp.training.initial import Initial
from vse_exp.training.module import RetrievalModule
from vse_exp.training.teaching import teach

Side = TypeVar("Side", SentenceEncoder, ImageEncoder)


CPU = torch.device("cpu")


def build_parts(
    cfg: DictConfig, device: torch.device = CPU, first: bool = True
) -> tuple[RetrievalModule, RetrievalDataModule]:
    """The model in training, and the data that its sizes and vocabulary follow from.

    `device` does what is done once before a training; where this is not the `first` of several
    processes, the first's weights and means will take the place of its own.
    """
    node = complete_model(plain(cfg.model), cfg.seed)
    text, images = node["encoder"], node["image_encoder"]
    initial = Initial(cfg) if cfg.init else None
    read_in = partial(_class_of(text, SentenceEncoder).own_vocabulary, text)
    datamodule = RetrievalDataModule(
        plain(cfg.data),
        seed=cfg.seed,
        vocabulary=(lambda _: initial.model.vocabulary) if initial else read_in,
        preprocessing=_class_of(images, ImageEncoder).preprocessing_of(images),
    )
    module = build_module(cfg, build_model(node, datamodule, device, first, initial))
    teach(module, datamodule, cfg.teachers, device)
    if cfg.compile:
        compile_parts(module.model)
    return module, datamodule


def build_module(cfg: DictConfig, model: VSE) -> RetrievalModule:
    """A model in training by the loss, optimiser and schedule of a config."""
    return RetrievalModule(
        model,
        build_node(cfg.loss),
        partial(
            build_optimizer,
            factory=build_node(cfg.optimizer),
            lr_scales=cfg.lr_scales and plain(cfg.lr_scales),
            decay_weights_only=cfg.decay_weights_only,
        ),
        build_node(cfg.scheduler) if cfg.scheduler else None,
        decay_c=cfg.decay_c,
        grad_clip=cfg.grad_clip,
        ema=cfg.ema,
        chunk_size=cfg.chunk_size,
        fusemix=cfg.fusemix,
    )


def complete_model(node: dict[str, Any], seed: int) -> dict[str, Any]:
    """The node of a model with all keys, those among them that follow from files that it names."""
    node = check(node, "model")
    text, images = node["encoder"], node["image_encoder"]
    of_text, of_images = _class_of(text, SentenceEncoder), _class_of(images, ImageEncoder)
    text, images = of_text.complete(text), of_images.complete(images, seed)
    if node["dim"] is None:
        node["dim"] = of_text.own_dim(text) or of_images.own_dim(images)
    return node | {"encoder": text, "image_encoder": images}


def build_model(
    node: dict[str, Any],
    datamodule: RetrievalDataModule,
    device: torch.device = CPU,
    first: bool = True,
    initial: Initial | None = None,
) -> VSE:
    """A new model whose image size and vocabulary follow from the training data, ready to learn;
    see `build_parts`. That of `initial` takes the place of weights and means."""
    images = datamodule.split("train").image_features
    dim_image = images.shape[-1] if datamodule.preprocessing is None else None
    model: VSE = build(node, datamodule.vocabulary, dim_image, where="model")
    model.provenance = datamodule.provenance
    if initial is not None:  # what does not fit is told before anything that takes long
        initial.require_features(model, datamodule)
        initial.give(model)
    model.to(device)
    blocks = images.blocks if first and initial is None else partial(_one_of, images.blocks)
    model.image_encoder.start(blocks, datamodule.seed)
    captions, cache = datamodule.tokenized("train"), cache_folder() / "text"
    model.sentence_encoder.start(captions, datamodule.vocabulary, cache)
    others = ["dev", "test"]
    if initial is not None:
        initial.give(model)
        others.append("train")  # of which other weights may give other vectors
    for name in others:
        model.sentence_encoder.remember(datamodule.tokenized(name), cache)
    return model.cpu()  # from where the trainer takes it


def _one_of(blocks: Blocks) -> Iterator[Tensor]:
    return islice(blocks(), 1)


def _class_of(node: dict[str, Any], kind: type[Side]) -> type[Side]:
    """The class of one side of the model, from inside or outside the package."""
    found = locate(node["_target_"])
    if not (inspect.isclass(found) and issubclass(found, kind)):
        raise UserError(f"{node['_target_']} is no {kind.__name__}: give one as _target_.")
    return found


def compile_parts(model: VSE) -> None:
    """torch.compile of what it helps, in place. UserError without a compiler."""
    if not (os.environ.get("CXX") or any(map(shutil.which, ("g++", "clang++", "c++", "cl")))):
        raise UserError(
            "compile=true needs a C++ compiler (g++ or clang++): install one, or set compile=false."
        )
    model.sentence_encoder.compile_parts()
    model.image_encoder.compile_parts()


def build_node(node: Any) -> Any:
    """What a config node describes; a mistake in it is told with its key."""
    return None if node is None else build(plain(node), where=node._get_full_key(None))
