"""The split that the group `data` of a config names: its files, or its layout, and its images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vse_exp.alive import doing
from vse_exp.data.layout import Layout
from vse_exp.data.layouts import (
    Split,
    fingerprint,
    in_languages,
    load_picture_split,
    load_split,
    with_captions,
)
from vse_exp.errors import UserError
from vse_exp.parts import build
from vse_exp.split_files import SplitFiles

if TYPE_CHECKING:
    from vse_exp.images.preprocessing import Preparation


def find_split_files(config: Mapping[str, Any], split: str) -> SplitFiles:
    """The files of a split that the `data` group of a config describes (see `conf/data/`).

    `config["files"]` names files one by one; else the data set `name` is looked for under `root`.
    The built-in set `scenes` is drawn into the cache folder at its first use.
    """
    given = config.get("files")
    if given and any(path for paths in given.values() for path in (paths or {}).values()):
        if split not in given:
            known = ", ".join(sorted(given))
            raise UserError(f"data.files has no split {split!r} (it has {known}): add its files.")
        return SplitFiles.named(given[split] or {}, split)
    root = config.get("root")
    if root is None:
        from vse_exp.data.scenes import TWINS, prepare_scenes, prepare_twins

        root = (prepare_twins if split == TWINS else prepare_scenes)(**config["scenes"])
    return SplitFiles.find(root, config["name"], split)


def find_caption_files(config: Mapping[str, Any], split: str) -> dict[str, SplitFiles]:
    """The files of the data sets whose captions `config["captions"]` names, by their names."""
    folders = [Path(config.get("root") or "") / name for name in config.get("captions") or ()]
    return {path.name: SplitFiles.find(path.parent, path.name, split) for path in folders}


def find_layout(config: Mapping[str, Any]) -> Layout | None:
    """The part that reads the data set; None: it lies in files. UserError for another class."""
    if config.get("layout") is None:
        return None
    layout = build(config["layout"], where="data.layout")
    if not isinstance(layout, Layout):
        raise UserError(f"{config['layout']['_target_']} is no Layout: give one as _target_.")
    return layout


def split_fingerprint(config: Mapping[str, Any], split: str) -> dict[str, Any]:
    """What tells a split from others of the same name. UserError where there is none."""
    layout = find_layout(config)
    own = None if layout is None else layout.fingerprint(split)
    if own is not None:
        return own
    captions = find_caption_files(config, split).values()
    return fingerprint(find_split_files(config, split), captions)


def load_split_from_config(
    config: Mapping[str, Any], split: str, preprocessing: Preparation | None = None
) -> Split:
    """Read the split that the `data` group of a config describes (`find_split_files`).

    With a model's `preprocessing` the images are pictures (`config["pictures"]` says where), else
    features. `config["captions"]` names data sets whose captions stand in place of its own,
    `config["languages"]` the languages of those that are kept.
    """
    doing(f"reading {config['name']} {split}")
    return in_its_words(_load_split(config, split, preprocessing), config, split)


def in_its_words(found: Split, config: Mapping[str, Any], split: str) -> Split:
    """The split with the captions and in the languages that the config names."""
    if sources := find_caption_files(config, split):
        found = with_captions(found, sources)
    wanted = config.get("languages")
    return in_languages(found, wanted) if wanted else found


def _load_split(config: Mapping[str, Any], split: str, preprocessing: Preparation | None) -> Split:
    layout, normalize = find_layout(config), bool(config.get("normalize_features", False))
    if layout is not None and (found := layout.split(split, preprocessing, normalize)) is not None:
        return found
    files = find_split_files(config, split)
    pictures = place_of_pictures(config, files, split)
    if preprocessing is not None:
        if pictures is None:
            raise UserError(
                f"The model takes pictures, and those of {config['name']} {split} are not at hand: "
                "set data.pictures to their folder or tar."
            )
        return load_picture_split(files, split, pictures, preprocessing)
    if config.get("pictures") is not None and not files.features.is_file():
        raise UserError(
            f"The model takes image features, and there is no {files.features}: make it with "
            "`python -m vse_exp.extract`, or train on pictures with model.image_encoder=backbone."
        )
    return load_split(
        files,
        split,
        captions_per_image=config.get("captions_per_image"),
        normalize=normalize,
        in_memory=bool(config.get("in_memory", False)),
        pictures=pictures,
    )


def place_of_pictures(config: Mapping[str, Any], files: SplitFiles, split: str) -> str | None:
    """Where the pictures lie, as the config says or as they are found; None: they are not."""
    found = "scenes" if config["name"] == "scenes" else files.find_pictures(split)
    return config.get("pictures") or found
