"""The keys of training, which conf/train.yaml explains."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from vse_exp.cli.keys import Data, Paths
from vse_exp.parts import TARGET, Node, Nodes, check
from vse_exp.schema import (
    Keys,
    NonNegative,
    Positive,
    Seed,
    Share,
    Size,
    Text,
    told_in_full,
)


def _lightnings(node: Any, info: ValidationInfo) -> Any:
    """The keys of Lightning's Trainer, by its own signature."""
    if not isinstance(node, dict):
        raise ValueError("a mapping of the keys of Lightning's Trainer")
    if not info.data.get("callbacks", True):  # which may use any of torchmetrics
        from vse_exp.training.imports import import_lightning

        import_lightning()
    with told_in_full():
        keys = check({**node, TARGET: "lightning.pytorch.Trainer"}, "trainer")
    del keys[TARGET]
    return keys


class RunPaths(Paths):
    runs_dir: Text
    run_dir: Text


class Train(Keys):
    quiet: bool
    seed: Seed
    max_epochs: Size
    lrate: Positive
    lr_scales: dict[str, NonNegative] | None
    decay_weights_only: bool
    grad_clip: Positive | None
    decay_c: NonNegative
    ema: Share | None
    chunk_size: Size | None
    fusemix: Positive | None
    compile: bool
    valid_freq: Size | None
    valid_at_end: bool
    patience: Size | None
    disp_freq: Size
    progress: Literal["auto"] | bool
    resume: Text
    init: Text | None
    matmul_precision: Literal["highest", "high", "medium"]
    paths: RunPaths
    data: Data
    model: Node
    loss: Node
    teachers: Text | Annotated[list[Text], Field(min_length=1)] | None
    optimizer: Node
    scheduler: Node | None
    callbacks: Nodes
    trainer: Annotated[dict[str, Any], BeforeValidator(_lightnings)]
    logger: Nodes
