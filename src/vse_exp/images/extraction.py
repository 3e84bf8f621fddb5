"""Feature extraction: pictures in, a `.npy` with a row a picture out, however often interrupted."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import vse_exp
from vse_exp.errors import UserError
from vse_exp.files import as_lines, write_json, write_rows, write_text
from vse_exp.images.backbones import Backbone
from vse_exp.images.computing import Settings, fill, row_shape
from vse_exp.images.journal import Journal, different_keys
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.provenance import VERSION, read_provenance
from vse_exp.images.sources import Pictures, Selection
from vse_exp.sharding import Shard, joined_rows
from vse_exp.split_files import SplitFiles


@dataclass(frozen=True)
class Extraction:
    """What came out: rows in the file, pictures left out, and those made in this run."""

    files: SplitFiles
    n_images: int
    skipped: list[tuple[str, str]]
    """Names and reasons."""
    made: int
    seconds: float


def extract_features(
    pictures: Pictures,
    backbone: Backbone,
    output: str | os.PathLike[str],
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
    device: torch.device | str = "cpu",
    accept: Callable[[list[tuple[str, str]]], None] = lambda skipped: None,
) -> Extraction:
    """Write `output` (.npy) and beside it names, what was skipped and the record of how.

    What an earlier run of the same job has done is kept, and the result is the same to the byte.
    `progress(done, total)` is called after each block, done blocks of earlier runs included.
    `accept(skipped)` is called before anything is written in place, and may refuse by UserError;
    what is done so far is kept then. Raises UserError where files of another job stand in the way.
    """
    files = _plain_file(output)
    job = _job(pictures, backbone, settings)
    finished = _finished(files, job, settings)
    if finished is not None:
        return finished
    if settings.restart:
        shutil.rmtree(files.unfinished, ignore_errors=True)
    shape, dtype = row_shape(backbone, settings), np.dtype(settings.dtype)
    journal = Journal(files.unfinished, job, len(pictures.names), shape, dtype, settings.batch_size)
    whole = False
    try:
        started, before = time.monotonic(), journal.n_done
        fill(journal, pictures, backbone, settings, progress, device)
        seconds = time.monotonic() - started
        skipped = [(pictures.names[index], reason) for index, reason in journal.skipped]
        if len(skipped) == len(pictures.names):
            raise UserError(
                f"Not one of {len(skipped)} pictures could be read "
                f"({skipped[0][0]}: {skipped[0][1]}): correct images=…."
            )
        accept(skipped)
        _write_beside(files, pictures, skipped, _told(backbone) | job, shape)
        n_images = journal.finish(files.features)  # last: where it is, all is
        whole = True
        return Extraction(files, n_images, skipped, journal.n_done - before, seconds)
    finally:
        journal.close(remove=whole)


def extract_share(
    pictures: Pictures,
    backbone: Backbone,
    output: str | os.PathLike[str],
    settings: Settings,
    shard: Shard,
    progress: Callable[[int, int], None] = lambda done, total: None,
    device: torch.device | str = "cpu",
    accept: Callable[[list[tuple[str, str]]], None] = lambda skipped: None,
) -> Extraction | None:
    """The same by several processes, each of which makes its share: None while others are missing,
    else what they put together, to the byte that of one process."""
    files = _plain_file(output)
    job = _job(pictures, backbone, settings)
    finished = _finished(files, job, settings)
    if finished is not None:
        return finished
    names, size = pictures.names, settings.batch_size
    folder = shard.folder(files.features, job)
    share = shard.share(-(-len(names) // size))
    own = names[share.start * size : share.stop * size]
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"{number}_ims.npy" for number in range(shard.count)]
    part = folder / parts[shard.number]
    shape, dtype = row_shape(backbone, settings), np.dtype(settings.dtype)
    if own:
        again = replace(settings, overwrite=False)  # what is done of this job is kept
        made = extract_features(
            Selection(pictures, own, own), backbone, part, again, progress, device
        )
    else:
        made = Extraction(SplitFiles.of_features(part), 0, [], 0, 0.0)
        write_rows(part, (0, *shape), dtype, [])
    with shard.last(folder, parts) as whole:
        if not whole:
            return None
        paths = [folder / name for name in parts]
        skipped = [one for path in paths for one in _skipped(SplitFiles.of_features(path))]
        accept(skipped)
        _write_beside(files, pictures, skipped, _told(backbone) | job, shape)
        count = len(names) - len(skipped)
        write_rows(files.features, (count, *shape), dtype, joined_rows(paths))
    return Extraction(files, count, skipped, made.made, made.seconds)


def _plain_file(output: str | os.PathLike[str]) -> SplitFiles:
    """The files of features at `output`. UserError where they could not be put in place."""
    files = SplitFiles.of_features(output)
    if files.features.suffix != ".npy":
        raise UserError(f"output={output} must end in .npy.")
    if os.path.islink(files.features) or (
        os.path.exists(files.features) and not os.path.isfile(files.features)
    ):
        raise UserError(f"output={output} is a link or no plain file: give the file's own name.")
    return files


def _job(pictures: Pictures, backbone: Backbone, settings: Settings) -> dict[str, Any]:
    """What decides the bytes of the result."""
    if settings.dtype not in ("float16", "float32"):
        raise UserError(f"Unknown dtype={settings.dtype}: choose float16 or float32.")
    return {
        "backbone": backbone.name,
        "weights_sha256": backbone.weights_sha256,
        "transform": backbone.preprocessing.to_dict(),
        "grid": backbone.grid,
        "unit_norm": settings.unit_norm,
        "average_views": settings.average_views,
        "dtype": settings.dtype,
        "batch_size": settings.batch_size,
        "max_pixels": settings.max_pixels,
        "images_sha256": _names_hash(pictures.names),
    }


def _told(backbone: Backbone) -> dict[str, Any]:
    """What is recorded beside that, and decides nothing but rounding."""
    return {"weights": backbone.weights, "seed": backbone.seed, "runtime": backbone.runtime}


def _names_hash(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def _finished(files: SplitFiles, job: dict[str, Any], settings: Settings) -> Extraction | None:
    """The result of the same job where it is there already."""
    if settings.overwrite or not files.features.exists():
        return None
    record = read_provenance(files.features)
    if record is None:
        raise UserError(f"{files.features} is there already: overwrite=true replaces it.")
    before = {key: record.get(key) for key in job}
    if before["transform"]:
        before["transform"] = Preprocessing.from_dict(before["transform"]).to_dict()
    different = different_keys(before, job)
    if different:
        raise UserError(
            f"{files.features} is there already, made with other {', '.join(different)}: "
            "overwrite=true replaces it."
        )
    shutil.rmtree(files.unfinished, ignore_errors=True)
    return Extraction(files, record["n_images"], _skipped(files), 0, 0.0)


def _skipped(files: SplitFiles) -> list[tuple[str, str]]:
    """Names and reasons of the pictures that gave no row."""
    if not files.skipped.is_file():
        return []
    with open(files.skipped, encoding="utf-8", newline="") as file:
        return [(name, reason) for name, reason in list(csv.reader(file))[1:]]


def _write_beside(
    files: SplitFiles,
    pictures: Pictures,
    skipped: list[tuple[str, str]],
    record: dict[str, Any],
    row_shape: tuple[int, ...],
) -> None:
    """All but the rows, which come last."""
    files.features.unlink(missing_ok=True)  # never beside the record of another job
    left_out = dict(skipped)
    names = [name for name in pictures.names if name not in left_out]
    if files.prepared:  # the list beside the captions has these names now
        record = record | {"images_sha256": _names_hash(names)}
    else:
        write_text(files.images, as_lines(names))
    files.skipped.unlink(missing_ok=True)
    if skipped:
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([("image", "reason"), *skipped])
        write_text(files.skipped, table.getvalue())
    counts = {"n_images": len(names), "n_skipped": len(skipped), "row_shape": list(row_shape)}
    versions = {"vse_exp": vse_exp.__version__, "torch": torch.__version__}
    write_json(files.provenance, {"version": VERSION, **record, **counts, **versions})
