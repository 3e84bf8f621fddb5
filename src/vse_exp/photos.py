"""`python -m vse_exp.photos`: from a folder of photos to a search box; see conf/photos.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig

from vse_exp.cli import verb
from vse_exp.cli.keys import Device, ModelCommand
from vse_exp.cli.steps import keys, run_step, typed
from vse_exp.errors import UserError
from vse_exp.schema import Size, Text, form

UPDATES_AN_EPOCH = 20
"""What a training should have at least, whose batches are smaller then."""


class Photos(ModelCommand):
    images: Text
    captions: Text | None
    checkpoint: Text | None
    output: Text
    name: Annotated[str, form(r"^[\w-]+$", "of letters, digits, - and _")]
    backbone: Text
    weights: Text
    batch_size: Size | None
    train: list[Text]
    overwrite: bool
    demo: bool
    device: Device


@verb("photos", Photos)
def main(cfg: DictConfig) -> None:
    if cfg.captions is None and cfg.checkpoint is None:
        raise UserError(
            "Give captions=FILE, from which a model learns, or the checkpoint=… of one that has."
        )
    if cfg.train and cfg.checkpoint is not None:
        raise UserError("train=… is of a model of one's own: leave it out, or checkpoint=….")
    gallery = Path(cfg.output) / "gallery"
    for name, arguments in _steps(cfg, gallery):
        run_step(name, arguments)
    checkpoint = cfg.checkpoint or str(_best(cfg))
    serve = keys(checkpoint=checkpoint, gallery=gallery, pictures=cfg.images) + _trust(cfg)
    if cfg.demo:
        run_step("demo", serve)
    else:
        query = keys(checkpoint=checkpoint, gallery=gallery, query="a dog on the beach")
        print(
            "Search it:", typed("retrieve", query + _trust(cfg)), typed("demo", serve), sep="\n  "
        )


def _steps(cfg: DictConfig, gallery: Path) -> Iterator[tuple[str, list[str]]]:
    """The verbs to run with their arguments, each found when those before it have ended."""
    output = Path(cfg.output)
    prepared = output / "data" / cfg.name
    features = prepared if cfg.captions else output / f"{cfg.name}_ims.npy"
    data = ["data=custom", *keys(**{"data.name": cfg.name, "paths.data_dir": output / "data"})]
    images, device = keys(images=cfg.images), keys(device=cfg.device)
    anew = keys(overwrite=str(cfg.overwrite).lower())
    if cfg.captions:
        yield (
            "prepare",
            keys(source=cfg.captions, name=cfg.name, output=prepared.parent) + images + anew,
        )
    own = keys(backbone=cfg.backbone, weights=cfg.weights)
    if takes_features := cfg.checkpoint is None or not _takes_pictures(cfg):
        made_as = own if cfg.checkpoint is None else keys(like=cfg.checkpoint) + _trust(cfg)
        yield "extract", images + keys(output=features) + made_as + device + anew
    if cfg.checkpoint is None:
        size = cfg.batch_size or _batch_size(prepared / f"{cfg.name}_train_caps.txt")
        run = keys(**{"paths.run_dir": output / "run", "data.batch_size": size})
        yield "train", data + run + (["resume=never"] if cfg.overwrite else []) + list(cfg.train)
    model = keys(checkpoint=cfg.checkpoint or _best(cfg)) + _trust(cfg)
    collection = [*data, "split=all"] if cfg.captions else keys(features=features) * takes_features
    place = keys(pictures=cfg.images, output=gallery, overwrite="true")
    yield "index", model + collection + place + device


def _trust(cfg: DictConfig) -> list[str]:
    return [f"trust=[{','.join(cfg.trust)}]"] if cfg.trust else []


def _best(cfg: DictConfig) -> Path:
    return Path(cfg.output) / "run" / "checkpoints" / "best.ckpt"


def _takes_pictures(cfg: DictConfig) -> bool:
    from vse_exp.compat.loading import load_model

    return load_model(cfg.checkpoint, "cpu", cfg.trust).preprocessing is not None


def _batch_size(captions: Path) -> int:
    """A power of two, from 16 to 1,024, that leaves enough updates an epoch."""
    from vse_exp.files import read_lines

    fitting = max(16, len(read_lines(captions)) // UPDATES_AN_EPOCH)
    return min(1024, 1 << (fitting.bit_length() - 1))


if __name__ == "__main__":
    main()
