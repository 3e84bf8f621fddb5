"""`python -m vse_exp.prepare`: raw annotations to captions and image lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from vse_exp.cli import hydra_entry
from vse_exp.data.annotations import (
    Annotations,
    WrittenSplit,
    assign_fractions,
    assign_lists,
    find_annotations,
    gather,
    leave_out_unassigned,
    read_annotations,
    write_splits,
)
from vse_exp.data.annotations.flickr import find_split_lists, read_split_lists
from vse_exp.errors import UserError
from vse_exp.files import write_text
from vse_exp.images.sources import locate, open_pictures, read_names


@hydra_entry("prepare")
def main(cfg: DictConfig) -> None:
    run(cfg)


def run(cfg: DictConfig) -> list[WrittenSplit]:
    """Write the data set that `conf/prepare.yaml` describes, and tell what came of it."""
    if not re.fullmatch(r"[\w-]+", str(cfg.name)):
        raise UserError(f"name={cfg.name} must be of letters, digits, - and _.")
    tokenize = _tokenizer(cfg.tokenize)
    given = cfg.source if isinstance(cfg.source, ListConfig) else [cfg.source]
    paths = find_annotations([Path(str(source)) for source in given])
    columns = {str(key): value for key, value in cfg.columns.items()}
    readings = [read_annotations(path, cfg.format, columns, cfg.restval) for path in paths]
    annotations = gather(readings)
    notes: list[tuple[str, list[str]]] = [
        ("malformed lines", [line for reading in readings for line in reading.malformed])
    ]
    if cfg.exclude is not None:
        notes.append(("excluded pictures", _exclude(annotations, Path(cfg.exclude))))
    if cfg.images is not None:
        notes.append(("pictures not found", _only_found(annotations, cfg.images)))
    notes.append(("pictures in no split", _assign_splits(annotations, cfg, paths[0].parent)))
    if not len(annotations):
        raise UserError(f"{paths[0]} gave no captions: give format=… if it was read wrongly.")
    folder = Path(cfg.output) / cfg.name
    written = write_splits(annotations, folder, cfg.name, tokenize, cfg.overwrite)
    _write_notes(folder / f"{cfg.name}_left_out.txt", notes)
    bare = sum(reading.images_without_captions for reading in readings)
    counts = [(what, len(which)) for what, which in notes]
    counts += [("empty captions", annotations.n_empty), ("pictures without captions", bare)]
    counts += [("captions that a picture has twice (kept)", annotations.n_duplicate)]
    _report(written, counts, folder, cfg.name)
    return written


def _assign_splits(annotations: Annotations, cfg: DictConfig, folder: Path) -> list[str]:
    """Splits by lists, else as annotated, else drawn; the pictures in none are left out."""
    given = {str(key): Path(value) for key, value in cfg.splits.items() if value is not None}
    annotated = any(split is not None for split in annotations.splits.values())
    lists = given or ({} if annotated else find_split_lists(folder))
    if lists:
        return assign_lists(annotations, read_split_lists(lists))
    if annotated:
        return leave_out_unassigned(annotations)
    fractions: Any = OmegaConf.to_container(cfg.fractions)
    assign_fractions(annotations, fractions, cfg.seed)
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


def _write_notes(path: Path, notes: Iterable[tuple[str, list[str]]]) -> None:
    path.unlink(missing_ok=True)
    lines = [f"{what}: {entry}\n" for what, entries in notes for entry in entries]
    if lines:
        write_text(path, "".join(lines))


def _report(
    written: list[WrittenSplit], counts: list[tuple[str, int]], folder: Path, name: str
) -> None:
    table = Table(title=f"{folder}")
    table.add_column("split")
    for column in ("pictures", "captions", "captions a picture", "words a caption"):
        table.add_column(column, justify="right")
    for split in written:
        each = f"{split.fewest}"
        if split.most > split.fewest:
            each += f" to {split.most}"
        words = f"{split.n_words / split.n_captions:.1f}"
        table.add_row(split.name, f"{split.n_images:,}", f"{split.n_captions:,}", each, words)
    console = Console()
    console.print(table)
    for what, count in counts:
        if count:
            console.print(f"{count:,} {what}", highlight=False)
    if (folder / f"{name}_left_out.txt").is_file():
        console.print(f"what was left out is listed in {folder / f'{name}_left_out.txt'}")


if __name__ == "__main__":
    main()
