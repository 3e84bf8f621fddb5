"""What a gallery is made of, as the entry points' keys name it: a data set, or files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.data import load_split_from_config, open_features
from vse_exp.data.layouts import Split, find_pictures
from vse_exp.data.opening import find_split_files
from vse_exp.errors import UserError
from vse_exp.evaluation.vectors import given_vectors
from vse_exp.files import read_lines
from vse_exp.images.features import ImageFeatures, check_rows
from vse_exp.images.pictures import PictureRows
from vse_exp.images.provenance import feature_record, read_record, require_compatible
from vse_exp.images.rows import Images, Stretch
from vse_exp.images.sources import open_pictures
from vse_exp.models.dual import DualEncoder
from vse_exp.retrieval.ann import AnnOptions
from vse_exp.retrieval.build import build_gallery, build_share
from vse_exp.retrieval.gallery import Gallery, joined_galleries
from vse_exp.retrieval.opening import is_gallery, open_gallery
from vse_exp.sharding import Shard, stamp
from vse_exp.split_files import SplitFiles


@dataclass
class Collection:
    """Images (features, or pictures) with names, captions, and the map between them, as far as
    there are any."""

    source: str
    images: Images | None = None
    image_names: list[str] | None = None
    captions: list[str] | None = None
    caption_image: np.ndarray | None = None
    pictures: str | list[str] | None = None
    provenance: dict[str, Any] | None = None
    stamps: list[Any] = field(default_factory=list)
    """What changes when its files of features do."""

    @property
    def parts(self) -> dict[str, Any]:
        """What `build_gallery` is given."""
        return {key: value for key, value in vars(self).items() if key != "stamps"}

    def job(self) -> list[Any]:
        """What changes when what is to be embedded does."""
        told = hashlib.sha256()
        for text in chain(self.image_names or (), self.captions or ()):
            told.update(f"{text}\n".encode())
        return [told.hexdigest(), len(self.images or ()), self.stamps]

    def share(self, shard: Shard) -> Collection:
        """The share of the images, and their captions (without a map: a share of these too)."""
        part = replace(self)
        rows = shard.share(len(self.images or ()))
        if self.images is not None:
            part.images = Stretch(self.images, slice(rows.start, rows.stop))
            names = self.image_names or [f"image {row}" for row in range(len(self.images))]
            part.image_names = names[rows.start : rows.stop]
        if self.captions is not None:
            if self.caption_image is None:
                dealt = shard.share(len(self.captions))
                chosen = np.arange(dealt.start, dealt.stop)
            else:
                chosen = np.flatnonzero(np.isin(self.caption_image, rows))
                part.caption_image = self.caption_image[chosen] - rows.start
            part.captions = [self.captions[number] for number in chosen]
        if not len(part.captions or ()) and not len(part.images or ()):
            raise UserError(f"shard={shard} has nothing to index: take fewer shares.")
        return part


def has_collection(config: Mapping[str, Any], model: DualEncoder) -> bool:
    """Whether the keys name anything to put into a gallery."""
    keys = ("data", "captions", "pictures" if model.takes_pictures else "features")
    return any(config.get(key) for key in keys)


def read_collection(config: Mapping[str, Any], model: DualEncoder) -> Collection:
    """Read what the keys `data` and `split`, or `features` (`pictures` for a model that takes
    those), `images_list` and `captions` name.

    `pictures` and `provenance` are looked for beside them unless given. Raises UserError where
    nothing is named, and for files that are missing or do not fit.
    """
    if not has_collection(config, model):
        images = "pictures=FOLDER" if model.takes_pictures else "features=FILE.npy"
        raise UserError(
            f"There is nothing to put into the gallery: give data=… split=…, or {images}, or "
            "captions=FILE.txt."
        )
    data = config.get("data")
    if data and (config.get("features") or config.get("captions")):
        raise UserError("Give either data=… or files of your own (features=…, captions=…).")
    found = _of_data(data, config["split"], model) if data else _of_files(config, model)
    if config.get("pictures"):
        if config["pictures"] != "scenes" and not Path(config["pictures"]).exists():
            raise UserError(f"No file or folder {config['pictures']}: correct pictures=….")
        found.pictures = config["pictures"]
    if config.get("provenance"):
        found.provenance = read_record(config["provenance"])
    return found


def _of_data(data: Mapping[str, Any], name: str, model: DualEncoder) -> Collection:
    """A split, or with `all` every split that is there, one after the other."""
    if name != "all":
        split = load_split_from_config(data, name, model.preprocessing)
        return _joined(data["name"], name, [split])
    splits = []
    for each in ("train", "dev", "test"):
        try:
            find_split_files(data, each)
        except UserError:
            continue
        splits.append(load_split_from_config(data, each, model.preprocessing))
    if not splits:
        find_split_files(data, "train")  # says where it looked
    return _joined(data["name"], name, splits)


def _joined(data: str, name: str, splits: list[Split]) -> Collection:
    first, *others = splits
    for other in others:
        require_compatible(first.provenance, other.provenance, allow=False)
    begins = np.cumsum([0, *(len(split.image_features) for split in splits)])
    names = [split.image_names for split in splits if split.image_names is not None]
    places = [place for place in dict.fromkeys(split.pictures for split in splits) if place]
    rest = [split.image_features for split in others]
    stamps = [stamp(split.files.features) for split in splits]
    return Collection(
        f"{data} {name}".strip(),
        first.image_features.followed_by(rest) if rest else first.image_features,
        [name for each in names for name in each] if len(names) == len(splits) else None,
        [caption for split in splits for caption in split.captions],
        np.concatenate([s.caption_image + start for s, start in zip(splits, begins, strict=False)]),
        places if len(places) > 1 else next(iter(places), None),
        first.provenance,
        stamps,
    )


def gallery_of_vectors(
    config: Mapping[str, Any], files: Mapping[str, Any], output: str | None
) -> Gallery:
    """Build a gallery of another program's vectors, the `files` of `given_vectors`."""
    model, split = given_vectors(**files, split=config["split"])
    data = (files["data"] or {}).get("name", Path(files["images"]).name)
    collection = _joined(data, config["split"] if files["data"] else "", [split])
    if config["images_list"]:
        collection.image_names = read_lines(Path(config["images_list"]))
    if not split.captions:
        collection.captions = collection.caption_image = None
    return build_gallery(model, output, **collection.parts, **_options(config))


def _of_files(config: Mapping[str, Any], model: DualEncoder) -> Collection:
    images = "pictures" if model.takes_pictures else "features"
    parts = [str(config[key]) for key in (images, "captions") if config.get(key)]
    found = Collection(", ".join(Path(part).name for part in parts))
    if config.get("captions"):
        found.captions = read_lines(Path(config["captions"]))
    if model.preprocessing is not None and config.get("pictures"):
        listed = config.get("images_list")
        names = read_lines(Path(listed)) if listed else open_pictures(config["pictures"]).names
        found.image_names = list(names)
        source = find_pictures(config["pictures"], names)
        found.images = PictureRows.open(source, model.preprocessing)
    elif config.get("features"):
        path = Path(config["features"])
        array = open_features(path)
        check_rows(array, path)
        found.images = ImageFeatures(array)
        found.provenance = feature_record(path)
        found.stamps = [stamp(path)]
        beside = SplitFiles.of_features(path).images
        if config.get("images_list"):
            found.image_names = read_lines(Path(config["images_list"]))
        elif beside.is_file():
            found.image_names = read_lines(beside)
    return found


def gallery_from_config(
    config: Mapping[str, Any], model: DualEncoder, output: str | None, verbose: bool = True
) -> Gallery:
    """Build a gallery of what the keys name, in the folder `output` or in memory."""
    parts = _checked(config, model).parts
    return build_gallery(model, output, **parts, **_options(config, verbose))


def share_from_config(
    config: Mapping[str, Any], model: DualEncoder, output: str, shard: Shard
) -> Gallery | None:
    """Embed a share of what the keys name: the whole gallery where the others are there, else None.
    Without `merge` the share is a gallery of its own, `output`/3-of-8.
    """
    collection, options = _checked(config, model), _options(config)
    place = Path(output)
    if not config["merge"]:
        collection, place = collection.share(shard), place / f"{shard.number}-of-{shard.count}"
        shard = Shard(0, 1)
    if os.path.isdir(place) and not options["overwrite"]:
        there = open_gallery(place, model)
        if there.about["source"] == collection.source:
            return there  # made before
        raise UserError(f"The output {place} exists: give another folder, or overwrite=true.")
    return build_share(model, place, shard, collection.job(), **collection.parts, **options)


def _checked(config: Mapping[str, Any], model: DualEncoder) -> Collection:
    collection = read_collection(config, model)
    if collection.images is not None:
        data = config.get("data") or {}
        allow = config.get("allow_feature_mismatch") or data.get("allow_feature_mismatch")
        model.check_features(collection.provenance, bool(allow))
    return collection


def _options(config: Mapping[str, Any], verbose: bool = True) -> dict[str, Any]:
    ann = dict(config.get("ann") or {})
    return {
        "half": bool(config.get("half")),
        "ann": AnnOptions(**ann) if ann.get("kind") else None,
        "overwrite": bool(config.get("overwrite")),
        "verbose": verbose,
    }


def find_gallery(config: Mapping[str, Any], model: DualEncoder) -> Gallery:
    """The gallery in the folder `gallery` (of several folders one that joins them), built there at
    first use of what the keys name; without the key one in memory."""
    path = config.get("gallery")
    if isinstance(path, list):
        return joined_galleries([open_gallery(one, model) for one in path])
    if path is not None and (is_gallery(path) or not has_collection(config, model)):
        return open_gallery(path, model)
    return gallery_from_config(config, model, path)
