"""Keys that several commands have: where data lie, devices, and the group `data`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from vse_exp.errors import UserError
from vse_exp.evaluation.keys import Texts, Vectors
from vse_exp.parts import Node
from vse_exp.schema import Count, Keys, Seed, Size, Text, form

Device = Annotated[
    str, form(r"^(auto|cpu|mps|cuda(:\d{1,3})?)$", "auto, cpu, mps, cuda or cuda:1 …")
]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""What a model embeds in; Lightning's words."""
ShardOf = Annotated[str, form(r"^\d{1,6}/[1-9]\d{0,5}$", "a share i/n, 0/8 to 7/8")] | None
"""Of a job, by one of several processes (`vse_exp.sharding`)."""
Checkpoints = Texts
"""A file, or several whose similarities are averaged."""


class Paths(Keys):
    data_dir: Text


class Command(Keys):
    """What every command has."""

    paths: Paths
    quiet: bool


class ModelCommand(Command):
    """What commands have that load a model."""

    trust: list[Text]


class Judging(ModelCommand):
    """What commands have that judge a model, or vectors, on a split."""

    checkpoint: Checkpoints | None
    images: Texts | None
    captions: Texts | None
    caption_image: Text | None


def judged(cfg: DictConfig) -> Any:
    """What is to be judged: checkpoints, or the files of vectors. UserError without either."""
    if (cfg.checkpoint is None) == (cfg.images is None):
        reason = "is required" if cfg.images is None else "has vectors of its own"
        raise UserError(
            f"checkpoint=… {reason}: give it, or vectors in its place (images=FILE.npy "
            "captions=FILE.npy)."
        )
    if cfg.images is not None:
        return of_vectors({key: cfg[key] for key in Vectors.model_fields}, cfg)
    return cfg.checkpoint if isinstance(cfg.checkpoint, str) else list(cfg.checkpoint)


def of_vectors(files: Any, cfg: DictConfig) -> dict[str, Any]:
    """Files of vectors, and the data set that they are of, where it was typed: what a command
    takes without is not meant."""
    typed = any(re.match(r"data[.=]", one) for one in HydraConfig.get().overrides.task)
    return {**files, "data": OmegaConf.to_container(cfg.data, resolve=True) if typed else None}


class SplitFiles(Keys):
    captions: Text | None = None
    features: Text | None = None
    images: Text | None = None


class Augmentation(Keys):
    scale: Annotated[float, Field(gt=0, le=1)]
    stretch: Annotated[float, Field(ge=1)]
    flip: Annotated[float, Field(ge=0, le=1)]
    colour: Annotated[float, Field(ge=0, le=1)]


class Vocabulary(Keys):
    tokenizer: Node | None = None
    prefix: list[Text]
    file: Text | None
    splits: Annotated[list[Text], Field(min_length=1)]
    min_count: Size
    max_size: Size | None
    drop_rarest: Count


class Scenes(Keys):
    seed: Seed
    n_train: Size
    n_dev: Size
    n_test: Size


class Data(Keys):
    """The group `data`, whose keys conf/data/base.yaml explains."""

    name: Text
    root: Text | None
    files: dict[str, SplitFiles] | None
    scenes: Scenes | None = None
    layout: Node | None = None
    steps_per_epoch: Size | None = None
    captions: Annotated[list[Text], Field(min_length=1)] | None
    languages: Annotated[list[Text], Field(min_length=1)] | None
    captions_per_image: Size | None
    normalize_features: bool
    in_memory: bool
    on_device: bool | Literal["auto"]
    pictures: Text | None
    augmentation: Augmentation
    allow_feature_mismatch: bool
    batch_size: Size
    eval_batch_size: Size
    bucket_width: Size | None
    order: Literal["shuffle", "uniform", "round_robin"]
    unique_images: bool
    captions_together: Size
    drop_last: bool
    captions_per_epoch: Size | None
    maxlen_w: Size | None
    num_workers: Annotated[int, Field(ge=0, le=1024)] | None
    vocabulary: Vocabulary


class Collection(Keys):
    """What a gallery is made of."""

    data: Data | None = None
    split: Text
    features: Text | None
    images_list: Text | None
    captions: Text | None
    pictures: Text | None
    provenance: Text | None
    allow_feature_mismatch: bool
