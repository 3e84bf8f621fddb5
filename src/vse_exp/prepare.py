"""`python -m vse_exp.prepare`: raw annotations to captions and image lists."""

from __future__ import annotations

from typing import Annotated, Literal

from omegaconf import DictConfig
from pydantic import Field

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Command, ShardOf
from vse_exp.cli.steps import keys, run_step
from vse_exp.errors import UserError
from vse_exp.schema import Keys, Seed, Share, Text, form


class Columns(Keys):
    image: Text | None
    caption: Text | None
    split: Text | None
    language: Text | None


class Fractions(Keys):
    dev: Share
    test: Share


class Prepare(Command):
    source: Text | Annotated[list[Text], Field(min_length=1)]
    name: Annotated[str, form(r"^[\w-]+$", "of letters, digits, - and _")]
    output: Text
    format: Literal["auto", "tokens", "table", "coco", "karpathy"]
    language: Annotated[str, form(r"^[\w-]+$", "of letters, digits, - and _")] | None
    images: Text | None
    exclude: Text | None
    columns: Columns
    splits: dict[str, Text | None]
    restval: Literal["train", "keep", "drop"]
    fractions: Fractions
    seed: Seed
    tokenize: Literal["none", "ptb"]
    shard: ShardOf
    backbone: Text | None
    weights: Text
    overwrite: bool


@verb("prepare", Prepare)
def main(cfg: DictConfig) -> None:
    from vse_exp.data.annotations.hub import is_hub
    from vse_exp.data.annotations.preparing import prepare_from_config

    if cfg.backbone is not None and cfg.images is None and not is_hub(cfg.source):
        raise UserError("backbone=… makes features of pictures: say where they are, images=….")
    prepared = prepare_from_config(plain(cfg))
    if prepared is None:
        print(f"{cfg.name}: share {cfg.shard} is done; the last to end puts them together")
        return
    prepared.tell()
    if cfg.backbone is not None:
        network = keys(backbone=cfg.backbone, weights=cfg.weights)
        images = cfg.images or prepared.folder / "images"
        run_step("extract", [*keys(images=images, output=prepared.folder), *network])


if __name__ == "__main__":
    main()
