"""`python -m vse_exp.extract`: pictures to image features."""

from __future__ import annotations

import signal
from typing import Annotated, Literal

from omegaconf import DictConfig
from pydantic import Field

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Device, ModelCommand, ShardOf
from vse_exp.errors import Interrupted
from vse_exp.schema import Keys, Runtime, Seed, Size, Text

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
    from vse_exp.compat.loading import record_of
    from vse_exp.images.jobs import extract_from_config

    record = None if cfg.like is None else record_of(cfg.like, cfg.trust)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        extract_from_config(plain(cfg), record)
    except KeyboardInterrupt as interruption:
        message = "interrupted: the same command goes on from here"
        raise Interrupted(message) from interruption


if __name__ == "__main__":
    main()
