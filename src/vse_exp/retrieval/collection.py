"""What a gallery is made of, as the entry points' keys name it: a data set, or files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.data import load_split_from_config, open_features
from vse_exp.data.features import ImageFeatures, check_rows
from vse_exp.data.layouts import read_lines
from vse_exp.data.picture_splits import find_pictures
from vse_exp.errors import UserError
from vse_exp.models.vse import VSE
from vse_exp.retrieval.ann import AnnOptions
from vse_exp.retrieval.build import build_gallery
from vse_exp.retrieval.gallery import ABOUT, Gallery, open_gallery


@dataclass
class Collection:
    """Image features with names, captions, and the map between them, as far as there are any."""

    source: str
    images: ImageFeatures | None = None
    image_names: list[str] | None = None
    captions: list[str] | None = None
    caption_image: np.ndarray | None = None
    pictures: str | None = None
    provenance: dict[str, Any] | None = None


def has_collection(config: Mapping[str, Any]) -> bool:
    """Whether the keys name anything to put into a gallery."""
    return any(config.get(key) for key in ("data", "features", "captions"))


def read_collection(config: Mapping[str, Any]) -> Collection:
    """Read what the keys `data` and `split`, or `features`, `images_list` and `captions` name.

    `pictures` and `provenance` are looked for beside them unless given. Raises UserError where
    nothing is named, and for files that are missing or do not fit.
    """
    if not has_collection(config):
        raise UserError(
            "There is nothing to put into the gallery: give data=… split=…, or features=FILE.npy, "
            "or captions=FILE.txt."
        )
    data = config.get("data")
    if data and (config.get("features") or config.get("captions")):
        raise UserError("Give either data=… or files of your own (features=…, captions=…).")
    found = _of_data(data, config["split"]) if data else _of_files(config)
    if config.get("pictures"):
        if config["pictures"] != "scenes" and not Path(config["pictures"]).exists():
            raise UserError(f"No file or folder {config['pictures']}: correct pictures=….")
        found.pictures = config["pictures"]
    if config.get("provenance"):
        found.provenance = _read_record(Path(config["provenance"]))
    return found


def _of_data(data: Mapping[str, Any], name: str) -> Collection:
    split = load_split_from_config(data, name)
    root = split.files.features.parents[1]
    return Collection(
        f"{data['name']} {name}",
        split.image_features,
        split.image_names,
        split.captions,
        split.caption_image,
        find_pictures(root, data["name"], name),
        feature_record(split.files.features),
    )


def _of_files(config: Mapping[str, Any]) -> Collection:
    parts = [str(config[key]) for key in ("features", "captions") if config.get(key)]
    found = Collection(", ".join(Path(part).name for part in parts))
    if config.get("captions"):
        found.captions = read_lines(Path(config["captions"]))
    if config.get("features"):
        path = Path(config["features"])
        array = open_features(path)
        check_rows(array, path)
        found.images = ImageFeatures(array)
        found.provenance = feature_record(path)
        beside = path.with_name(path.stem.removesuffix("_ims") + "_images.txt")
        if config.get("images_list"):
            found.image_names = read_lines(Path(config["images_list"]))
        elif beside.is_file():
            found.image_names = read_lines(beside)
    return found


def feature_record(features: Path) -> dict[str, Any] | None:
    """How a feature file was made, as recorded beside it; None where it is not."""
    from vse_exp.images.provenance import read_provenance

    record = read_provenance(features)
    folder = features.with_name("features.json")
    return _read_record(folder) if record is None and folder.is_file() else record


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read the record of features {path} ({error}).") from error
    if not isinstance(record, dict) or "backbone" not in record:
        raise UserError(f"{path} is no record of features, which `vse_exp.extract` writes.")
    return record


def gallery_from_config(
    config: Mapping[str, Any], model: VSE, output: str | None, verbose: bool = True
) -> Gallery:
    """Build a gallery of what the keys name, in the folder `output` or in memory."""
    from vse_exp.images.provenance import check_compatible

    collection = read_collection(config)
    difference = check_compatible(model.provenance, collection.provenance)
    if difference and not config.get("allow_feature_mismatch"):
        raise UserError(f"{difference}: use the same, or set allow_feature_mismatch=true.")
    ann = dict(config.get("ann") or {})
    return build_gallery(
        model,
        output,
        images=collection.images,
        image_names=collection.image_names,
        captions=collection.captions,
        caption_image=collection.caption_image,
        source=collection.source,
        pictures=collection.pictures,
        provenance=collection.provenance,
        half=bool(config.get("half")),
        ann=AnnOptions(**ann) if ann.get("kind") else None,
        overwrite=bool(config.get("overwrite")),
        verbose=verbose,
    )


def find_gallery(config: Mapping[str, Any], model: VSE) -> Gallery:
    """The gallery in the folder `gallery`, built there at first use of what the keys name; without
    the key one in memory."""
    path = config.get("gallery")
    if path is not None and ((Path(path) / ABOUT).is_file() or not has_collection(config)):
        return open_gallery(path, model)
    return gallery_from_config(config, model, path)
