"""`python -m vse_exp.extract`: pictures to image features."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.device import find_device
from vse_exp.errors import Interrupted, UserError
from vse_exp.images.alignment import drop_captions, names_to_follow, prepared_outputs
from vse_exp.images.backbones import Backbone, build_backbone
from vse_exp.images.extraction import Extraction, Settings, extract_features
from vse_exp.images.sources import open_pictures
from vse_exp.progress import progress
from vse_exp.split_files import SplitFiles


@hydra_entry("extract")
def main(cfg: DictConfig) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(cfg)
    except KeyboardInterrupt as interruption:
        message = "interrupted: the same command goes on from here"
        raise Interrupted(message) from interruption


def run(cfg: DictConfig) -> list[Extraction]:
    """Extract the features that `conf/extract.yaml` describes, for one output or all splits."""
    device = find_device(cfg.device)
    settings = Settings(
        dtype=cfg.dtype,
        unit_norm=cfg.unit_norm,
        average_views=cfg.average_views,
        batch_size=_batch_size(cfg, device),
        num_workers=_workers(cfg.num_workers),
        max_pixels=_positive(cfg, "max_pixels"),
        overwrite=cfg.overwrite,
        restart=cfg.restart,
    )
    output = Path(cfg.output)
    outputs = prepared_outputs(output) if output.is_dir() else [output]
    if len(outputs) > 1 and cfg.list is not None:
        raise UserError(f"list={cfg.list} fits one output, and {output} has {len(outputs)} splits.")
    transform: Any = OmegaConf.to_container(cfg.transform)
    backbone = build_backbone(cfg.backbone, cfg.weights, {**transform, "view": cfg.view}, cfg.seed)
    done = [_extract(cfg, backbone, path, settings, device) for path in outputs]
    left_out = sum(len(extraction.skipped) for extraction in done)
    if cfg.strict and left_out:
        raise UserError(
            f"strict=true, and {left_out} pictures were skipped: *_skipped.csv beside the output "
            "says why."
        )
    return done


def _extract(
    cfg: DictConfig, backbone: Backbone, output: Path, settings: Settings, device: torch.device
) -> Extraction:
    files = SplitFiles.of_features(output)
    given = Path(cfg.list) if cfg.list is not None else None
    pictures = open_pictures(
        cfg.images, names_to_follow(files, given), column=cfg.column, root=cfg.root
    )

    def accept(skipped: list[tuple[str, str]]) -> None:
        if not (skipped and files.prepared):
            return
        if not cfg.drop_unreadable:
            name, reason = skipped[0]
            raise UserError(
                f"{len(skipped)} pictures of {files.images} could not be read ({name}: {reason}): "
                "run the same with drop_unreadable=true to take their captions out too."
            )
        left = drop_captions(files, {name for name, _ in skipped})
        print(f"{files.captions}: {left} captions are left")

    with progress(output.name, "images") as update:
        result = extract_features(pictures, backbone, output, settings, update, device, accept)
    _report(result, backbone)
    return result


def _report(result: Extraction, backbone: Backbone) -> None:
    speed = "" if result.made == 0 else f", {result.made / max(result.seconds, 1e-9):.1f} images/s"
    state = "complete already" if result.made == 0 else f"{backbone.name}, {backbone.dim}-d"
    print(f"{result.files.features}: {result.n_images} rows ({state}{speed})")
    if result.skipped:
        name, reason = result.skipped[0]
        print(
            f"{len(result.skipped)} pictures skipped, listed in {result.files.skipped} "
            f"(first: {name}: {reason})"
        )


def _positive(cfg: DictConfig, key: str) -> int:
    if not isinstance(cfg[key], int) or cfg[key] < 1:
        raise UserError(f"{key}={cfg[key]} must be a whole number above zero.")
    return cfg[key]


def _batch_size(cfg: DictConfig, device: torch.device) -> int:
    if cfg.batch_size is not None:
        return _positive(cfg, "batch_size")
    # on a CPU a few pictures at once stay in its caches
    return 16 if device.type == "cpu" else 128


def _workers(number: int | None) -> int:
    if number is None:
        affinity = getattr(os, "sched_getaffinity", None)
        processors = len(affinity(0)) if affinity else os.cpu_count() or 1
        return max(1, min(16, processors - 1))
    if number < 0:
        raise UserError(f"num_workers={number} must not be below zero.")
    return number


if __name__ == "__main__":
    main()
