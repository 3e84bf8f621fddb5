"""What `vse_exp.extract` is asked for: one output, or those of all splits of a data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vse_exp.device import spare_processors
from vse_exp.errors import UserError
from vse_exp.images.alignment import drop_captions, names_to_follow, prepared_outputs
from vse_exp.images.backbones import Backbone, build_backbone
from vse_exp.images.computing import Settings
from vse_exp.images.encoding import backbone_of
from vse_exp.images.extraction import Extraction, extract_features, extract_share
from vse_exp.images.sources import open_pictures
from vse_exp.progress import progress
from vse_exp.runtime import Runtime, find_place
from vse_exp.sharding import Shard
from vse_exp.split_files import SplitFiles


def extract_from_config(
    config: Mapping[str, Any], record: Mapping[str, Any] | None = None
) -> list[Extraction]:
    """Extract the features that the keys in conf/extract.yaml describe, and print what came out.

    With the `record` of other features they are made as those were, whatever the keys say of that.
    UserError for what cannot be read, built or written, and with `strict` where one was skipped.
    """
    runtime: Runtime = config["runtime"]
    device = find_place(config["device"], runtime)
    made_as = config if record is None else record
    settings = Settings(
        dtype=config["dtype"],
        unit_norm=bool(made_as.get("unit_norm", True)),
        average_views=bool(made_as.get("average_views", True)),
        # on a CPU a few pictures at once stay in its caches
        batch_size=config["batch_size"] or (16 if device.type == "cpu" else 128),
        num_workers=spare_processors() if config["num_workers"] is None else config["num_workers"],
        max_pixels=config["max_pixels"],
        overwrite=config["overwrite"],
        restart=config["restart"],
    )
    output = Path(config["output"])
    outputs = prepared_outputs(output) if os.path.isdir(output) else [output]
    if len(outputs) > 1 and config["list"] is not None:
        raise UserError(
            f"list={config['list']} fits one output, and {output} has {len(outputs)} splits."
        )
    if record is None:
        transform = {**config["transform"], "view": config["view"], "mirror": config["mirror"]}
        backbone = build_backbone(
            config["backbone"],
            config["weights"],
            transform,
            config["seed"],
            config["grid"],
            runtime,
        )
    else:
        elsewhere = None if config["weights"] == "pretrained" else config["weights"]
        backbone = backbone_of(dict(record), elsewhere, runtime)
    done = [_extract(config, backbone, path, settings, device) for path in outputs]
    left_out = sum(len(extraction.skipped) for extraction in done)
    if config["strict"] and left_out:
        raise UserError(
            f"strict=true, and {left_out} pictures were skipped: *_skipped.csv beside the output "
            "says why."
        )
    return done


def _extract(
    config: Mapping[str, Any],
    backbone: Backbone,
    output: Path,
    settings: Settings,
    device: torch.device,
) -> Extraction:
    files = SplitFiles.of_features(output)
    given = Path(config["list"]) if config["list"] is not None else None
    pictures = open_pictures(
        config["images"], names_to_follow(files, given), config["column"], config["root"]
    )

    def accept(skipped: list[tuple[str, str]]) -> None:
        if not (skipped and files.prepared):
            return
        if not config["drop_unreadable"]:
            name, reason = skipped[0]
            raise UserError(
                f"{len(skipped)} pictures of {files.images} could not be read ({name}: {reason}): "
                "run the same with drop_unreadable=true to take their captions out too."
            )
        left = drop_captions(files, {name for name, _ in skipped})
        print(f"{files.captions}: {left} captions are left")

    shard = Shard.of(config["shard"])
    with progress(output.name, "images") as update:
        if shard is None:
            result = extract_features(pictures, backbone, output, settings, update, device, accept)
        else:
            result = extract_share(
                pictures, backbone, output, settings, shard, update, device, accept
            )
    if result is None:
        print(f"{output}: share {shard} is done; the last to end puts them together")
        return Extraction(files, 0, [], 0, 0.0)
    speed = "" if result.made == 0 else f", {result.made / max(result.seconds, 1e-9):.1f} images/s"
    state = "complete already" if result.made == 0 else f"{backbone.name}, {backbone.dim}-d"
    print(f"{output}: {result.n_images} rows ({state}{speed})")
    if result.skipped:
        name, reason = result.skipped[0]
        print(
            f"{len(result.skipped)} pictures skipped, listed in {files.skipped} "
            f"(first: {name}: {reason})"
        )
    return result
