"""`python -m vse_exp.extract`: pictures to image features."""

from __future__ import annotations

import signal
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from vse_exp.cli import verb
from vse_exp.cli.keys import Device, ModelCommand, ShardOf
from vse_exp.errors import Interrupted, UserError
from vse_exp.runtime import Runtime
from vse_exp.schema import Keys, Seed, Size, Text

Pixel = float | Annotated[list[float], Field(min_length=3, max_length=3)]
"""A value a colour, red first."""


class Transform(Keys):
    size: Size | None
    resize: Size | None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None
    mean: Pixel | None
    std: Pixel | None
    bgr: bool | None


class Extract(ModelCommand):
    images: Text
    output: Text
    list: Text | None
    column: Text | None
    root: Text | None
    like: Text | None
    backbone: Text
    weights: Text
    seed: Seed
    view: Literal["crop", "ten_crop", "squash", "frame"] | None
    mirror: bool
    average_views: bool
    grid: Annotated[int, Field(ge=1, le=64)] | None
    transform: Transform
    dtype: Literal["float16", "float32"]
    unit_norm: bool
    batch_size: Size | None
    num_workers: Annotated[int, Field(ge=0, le=1024)] | None
    device: Device
    runtime: Runtime
    max_pixels: Size
    shard: ShardOf
    strict: bool
    drop_unreadable: bool
    overwrite: bool
    restart: bool


@verb("extract", Extract)
def main(cfg: DictConfig) -> None:
    from vse_exp.images.jobs import extract_from_config

    config: Any = OmegaConf.to_container(cfg)
    record = _record(cfg) if cfg.like is not None else None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        extract_from_config(config, record)
    except KeyboardInterrupt as interruption:
        message = "interrupted: the same command goes on from here"
        raise Interrupted(message) from interruption


def _record(cfg: DictConfig) -> dict[str, Any]:
    """How the features were made that `like` names."""
    from vse_exp.compat.loading import load_model
    from vse_exp.images.provenance import read_record

    if cfg.like.endswith(".json"):
        return read_record(cfg.like)
    record = load_model(cfg.like, "cpu", cfg.trust).provenance
    if record is None:
        raise UserError(
            f"like={cfg.like} does not record how its features were made: say backbone=… instead."
        )
    return record


if __name__ == "__main__":
    main()
