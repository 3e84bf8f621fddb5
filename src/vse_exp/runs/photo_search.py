"""From a folder of photos to a search box: the commands, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from vse_exp.cli.keys import Device, ModelCommand
from vse_exp.cli.steps import keys
from vse_exp.errors import UserError
from vse_exp.files import read_lines, write_json
from vse_exp.schema import Runtime, Size, Text, form

UPDATES_AN_EPOCH = 20
"""What a training should have at least, whose batches are smaller then."""
Step = tuple[str, list[str]]
"""A verb and its arguments."""


class Photos(ModelCommand):
    """The keys that conf/photos.yaml explains."""

    images: Text
    captions: Text | None
    checkpoint: Text | None
    output: Text
    name: Annotated[str, form(r"^[\w-]+$", "of letters, digits, - and _")]
    backbone: Text
    weights: Text
    extract: list[Text]
    batch_size: Size | None
    train: list[Text]
    overwrite: bool
    demo: bool
    device: Device
    runtime: Runtime

    def check(self) -> None:
        """UserError for what does not go together."""
        if self.captions is None and self.checkpoint is None:
            raise UserError(
                "Give captions=FILE, from which a model learns, or the checkpoint=… of one that "
                "has."
            )
        if self.checkpoint is not None and (self.train or self.extract):
            raise UserError(
                "train=… and extract=… are of a model of one's own: leave them out, or "
                "checkpoint=…."
            )

    @property
    def model(self) -> list[str]:
        """The model to search with."""
        best = Path(self.output) / "run" / "checkpoints" / "best.ckpt"
        trust = [f"trust=[{','.join(self.trust)}]"] if self.trust else []
        return keys(checkpoint=self.checkpoint or best) + trust

    @property
    def gallery(self) -> Path:
        """Where the photos' vectors will lie."""
        return Path(self.output) / "gallery"

    def demo_step(self) -> Step:
        """The search box."""
        return "demo", self.model + keys(
            gallery=self.gallery, pictures=self.images, runtime=self.runtime
        )

    def query_step(self) -> Step:
        """A search, to begin with."""
        return "retrieve", self.model + keys(gallery=self.gallery, query="a dog on the beach")

    def steps(self) -> Iterator[Step]:
        """What makes the gallery: each step is found when those before it have ended."""
        output = Path(self.output)
        prepared = output / "data" / self.name
        features = prepared if self.captions else output / f"{self.name}_ims.npy"
        data = [
            "data=custom",
            *keys(**{"data.name": self.name, "paths.data_dir": output / "data"}),
        ]
        images, device = keys(images=self.images), keys(device=self.device, runtime=self.runtime)
        anew = keys(overwrite=str(self.overwrite).lower())
        if self.captions:
            place = keys(source=self.captions, name=self.name, output=prepared.parent)
            yield "prepare", place + images + anew
        made_as = self.made_as()
        if made_as:
            yield "extract", images + keys(output=features) + made_as + device + anew
        if self.checkpoint is None:
            size = self.batch_size or batch_size(prepared / f"{self.name}_train_caps.txt")
            run = keys(**{"paths.run_dir": output / "run", "data.batch_size": size})
            yield "train", data + run + ["resume=never"] * self.overwrite + list(self.train)
        items = [*data, "split=all"] if self.captions else keys(features=features) * bool(made_as)
        place = keys(pictures=self.images, output=self.gallery, overwrite="true")
        yield "index", self.model + items + place + device

    def made_as(self) -> list[str]:
        """How features are extracted: as the model's were, whose record is put beside them; not at
        all for a model that takes pictures."""
        if self.checkpoint is None:
            return keys(backbone=self.backbone, weights=self.weights) + self.extract
        from vse_exp.compat.loading import load_model

        model = load_model(self.checkpoint, "cpu", self.trust)
        if model.preprocessing is not None:
            return []
        if model.provenance is None:
            raise UserError(
                f"{self.checkpoint} does not record how its features were made: extract those of "
                "the photos with vse_exp.extract, and index them with features=…."
            )
        record = Path(self.output) / "features_of_the_model.json"
        write_json(record, model.provenance)
        return keys(like=record)


def batch_size(captions: Path) -> int:
    """A power of two, from 16 to 1,024, that leaves enough updates an epoch."""
    fitting = max(16, len(read_lines(captions)) // UPDATES_AN_EPOCH)
    return min(1024, 1 << (fitting.bit_length() - 1))
