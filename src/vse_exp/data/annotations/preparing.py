"""A data set out of annotations: read, cleaned, dealt into splits, written, and told about."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vse_exp.data.annotations.flickr import find_split_lists, read_split_lists
from vse_exp.data.annotations.hub import hub_files, is_hub, read_hub
from vse_exp.data.annotations.reading import find_annotations, read_annotations
from vse_exp.data.annotations.records import Annotations, Reading, gather
from vse_exp.data.annotations.splits import assign_fractions, assign_lists, leave_out_unassigned
from vse_exp.data.annotations.writing import WrittenSplit, write_splits
from vse_exp.errors import UserError
from vse_exp.images.sources import locate, open_pictures, read_names
from vse_exp.sharding import Shard, stamp


@dataclass(frozen=True)
class Prepared:
    """A data set that was written: its splits, and what is not in them."""

    folder: Path
    splits: list[WrittenSplit]
    left_out: Path | None
    """The list of what was left out."""
    counts: dict[str, int]
    """How many malformed lines, pictures not found, …"""

    def tell(self) -> None:
        """Print a table of the splits and the counts."""
        from rich.console import Console
        from rich.table import Table

        table = Table(title=f"{self.folder}")
        table.add_column("split")
        for column in ("pictures", "captions", "captions a picture", "words a caption"):
            table.add_column(column, justify="right")
        for split in self.splits:
            each = f"{split.fewest}"
            if split.most > split.fewest:
                each += f" to {split.most}"
            words = f"{split.n_words / split.n_captions:.1f}"
            table.add_row(split.name, f"{split.n_images:,}", f"{split.n_captions:,}", each, words)
        console = Console()
        console.print(table)
        for what, count in self.counts.items():
            if count:
                console.print(f"{count:,} {what}", highlight=False)
        if self.left_out is not None:
            console.print(f"what was left out is listed in {self.left_out}")


def prepare_from_config(config: Mapping[str, Any]) -> Prepared | None:
    """Write the data set that the keys in conf/prepare.yaml describe.

    All files appear together or, on a full disk, none. A folder or archive of pictures that was
    named is linked as `images` beside the captions, where all commands look for it. With the key
    `shard` a share of the annotation files is read, and None returned while others are missing.
    """
    given = config["source"] if isinstance(config["source"], list) else [config["source"]]
    target = Path(config["output"]) / config["name"]
    if is_hub(given[0]):
        own = config["images"] or str(target / "images")
        config = {**config, "images": own}
        places = hub_files(given[0])
        readers = [partial(read_hub, *place, target, config["columns"]) for place in places]
        paths = [Path(place) for place, _ in places]
        beside = Path(given[0]).parent
    else:
        paths = find_annotations([Path(str(source)) for source in given])
        keys = (config["format"], config["columns"], config["restval"])
        readers = [partial(read_annotations, path, *keys) for path in paths]
        beside = paths[0].parent
    shard = Shard.of(config["shard"])
    if shard is None:
        return _prepare(config, [read() for read in readers], beside)
    job = {**config, "shard": None, "overwrite": None}
    folder = shard.folder(target, [job, [stamp(path) for path in paths]])
    files = [f"{number}.json" for number in range(len(readers))]
    shard.write(
        folder,
        files,
        lambda numbers: (readers[number]() for number in numbers),
        lambda path, reading: reading.write(path),
    )
    with shard.last(folder, files) as whole:
        if not whole:
            return None
        return _prepare(config, [Reading.read(folder / name) for name in files], beside)


def _prepare(config: Mapping[str, Any], read: list[Reading], beside: Path) -> Prepared:
    """Write what was read; lists of splits are looked for in the folder `beside`."""
    images = config["images"]
    annotations = gather(read, config["language"])
    notes = {"malformed lines": [line for reading in read for line in reading.malformed]}
    if config["exclude"] is not None:
        notes["excluded pictures"] = _exclude(annotations, Path(config["exclude"]))
    if images is not None:
        notes["pictures not found"] = _only_found(annotations, images)
    notes["pictures in no split"] = _assign_splits(annotations, config, beside)
    if not len(annotations):
        raise UserError(f"{read[0].source} gave no captions: give format=… if it was read wrongly.")
    name = config["name"]
    folder = Path(config["output"]) / name
    left_out = folder / f"{name}_left_out.txt"
    lines = [f"{what}: {entry}\n" for what, entries in notes.items() for entry in entries]
    tokenize = _tokenizer(config["tokenize"])
    also = {left_out: "".join(lines)} if lines else {}
    splits = write_splits(annotations, folder, name, tokenize, config["overwrite"], also)
    if not lines:
        left_out.unlink(missing_ok=True)
    if images is not None:
        _link(folder / "images", images)
    counts = {what: len(which) for what, which in notes.items()}
    counts["empty captions"] = annotations.n_empty
    counts["pictures without captions"] = sum(reading.images_without_captions for reading in read)
    counts["captions that a picture has twice (kept)"] = annotations.n_duplicate
    return Prepared(folder, splits, left_out if lines else None, counts)


def _link(link: Path, images: str) -> None:
    """Make `link` lead to the pictures; what is there and is no link stays."""
    place = os.path.realpath(images)
    try:
        if link.is_symlink():
            link.unlink()
        if not link.exists():
            link.symlink_to(place)
    except OSError:  # where there are no links, data.pictures=… must say it each time
        pass


def _assign_splits(annotations: Annotations, config: Mapping[str, Any], folder: Path) -> list[str]:
    """Splits by lists, else as annotated, else drawn; the pictures in none are left out."""
    given = {name: Path(path) for name, path in config["splits"].items() if path is not None}
    annotated = any(split is not None for split in annotations.splits.values())
    lists = given or ({} if annotated else find_split_lists(folder))
    if lists:
        return assign_lists(annotations, read_split_lists(lists))
    if annotated:
        return leave_out_unassigned(annotations)
    assign_fractions(annotations, config["fractions"], config["seed"])
    return []


def _only_found(annotations: Annotations, images: str) -> list[str]:
    """Keep pictures that are in `images`, under their names there; the others are returned."""
    available = open_pictures(images).names
    names = list(annotations)
    found = locate(names, available)
    if not any(found):
        raise UserError(
            f"None of the {len(names)} annotated pictures (first: {names[0]}) is in {images} "
            f"(it has {available[0]} and others): correct images=…."
        )
    there = {name: file for name, file in zip(names, found, strict=True) if file is not None}
    if len(set(there.values())) < len(there):
        raise UserError(f"Two annotated pictures are one file in {images}: give names that differ.")
    annotations.rename(there)
    return [name for name in names if name not in there]


def _exclude(annotations: Annotations, path: Path) -> list[str]:
    listed = {name.split(",")[0] for name in read_names(path)} | set(read_names(path))
    excluded = [name for name in annotations if name in listed]
    annotations.keep(set(annotations) - set(excluded))
    return excluded


def _tokenizer(name: str) -> Callable[[str], str]:
    if name == "none":
        return lambda caption: caption
    if name == "ptb":
        from vse_exp.text.ptb import ptb_tokenize

        return lambda caption: " ".join(ptb_tokenize(caption))
    raise UserError(f"Unknown tokenize={name}: choose none or ptb.")
