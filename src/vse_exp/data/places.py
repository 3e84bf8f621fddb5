"""Which shards a text means: paths and URLs, patterns, ranges in braces, data sets of a hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vse_exp.errors import UserError

HUB = "hub:"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
SUFFIXES = (".tar", ".parquet")


def expand(places: str | Sequence[str], split: str) -> list[str]:
    """The shards that `places` mean, in order.

    Each is a path or URL, which may hold `*` or a range `{000..123}` as WebDataset writes it; or
    `hub:NAME`, the files of the split of a data set of the Hugging Face hub (or a folder like one).
    UserError where there are none, and for what is neither a tar nor Parquet.
    """
    found: list[str] = []
    for place in [places] if isinstance(places, str) else places:
        if place.startswith(HUB):
            found += hub_files(place.removeprefix(HUB), split)
        else:
            found += [each for one in _ranged(place) for each in _globbed(one)]
    for one in found:
        if not one.lower().endswith(SUFFIXES):
            raise UserError(
                f"The shard {one} is neither a .tar nor a .parquet: unpack or leave it."
            )
    return found


def filesystem(place: str) -> tuple[Any, str]:
    """fsspec's file system of a path or URL, and the path in it."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:  # of a protocol that it has no package for
        raise UserError(f"Cannot open {place}: {error}.") from error


def hub_files(name: str, split: str) -> list[str]:
    """The data files of a split of a hub's data set. UserError where it has none."""
    files = hub_splits(name)
    usual = {"dev": ("dev", "validation", "val")}.get(split, (split,))
    chosen = next((files[one] for one in usual if one in files), None)
    if chosen is None:
        raise UserError(f"hub:{name} has no split {split} (it has {', '.join(files)}).")
    return chosen


def hub_splits(name: str) -> dict[str, list[str]]:
    """The data files of each split of a hub's data set, or of a folder like one.

    `NAME@REVISION` is a branch of it, for instance refs/convert/parquet, where the hub keeps what
    scripts would make.
    """
    datasets = import_datasets()
    name, _, revision = (name, "", "") if Path(name).exists() else name.partition("@")
    try:
        builder = datasets.load_dataset_builder(name, revision=revision or None)
        files = builder.config.data_files or {}
        return {str(split): [str(one) for one in places] for split, places in files.items()}
    except Exception as error:  # the hub's own, of many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"hub:{name} cannot be had: {reason}") from error


def import_datasets() -> Any:
    """The module `datasets`; UserError where it is not installed."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "Data sets of a hub need the extra hub: pip install 'vse_exp[hub]'."
        ) from error
    return datasets


def _ranged(place: str) -> list[str]:
    found = _RANGE.search(place)
    if found is None:
        return [place]
    first, last = found.groups()
    numbers = range(int(first), int(last) + 1)
    each = (f"{place[: found.start()]}{n:0{len(first)}}{place[found.end() :]}" for n in numbers)
    return [one for place in each for one in _ranged(place)]


def _globbed(place: str) -> list[str]:
    if "*" not in place:
        return [place]
    files, path = filesystem(place)
    found = sorted(files.glob(path))
    if not found:
        raise UserError(f"No shards {place}: correct the path.")
    return [files.unstrip_protocol(one) if "://" in place else one for one in found]
