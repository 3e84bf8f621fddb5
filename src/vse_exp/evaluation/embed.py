"""Embeddings of whole splits, and of files of any size, block by block."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from torch.nn.functional import normalize

from vse_exp.alive import doing
from vse_exp.data.layouts import Split
from vse_exp.data.scenes.build import cache_folder
from vse_exp.device import fits
from vse_exp.errors import UserError
from vse_exp.files import as_lines, read_lines, read_text, write_rows, write_text
from vse_exp.images.features import open_features
from vse_exp.images.pictures import PictureRows
from vse_exp.images.provenance import feature_record
from vse_exp.images.rows import require_finite
from vse_exp.images.sources import open_pictures, select
from vse_exp.models.dual import DualEncoder
from vse_exp.progress import progress
from vse_exp.sharding import Shard, joined_rows, put_rows, stamp
from vse_exp.split_files import SplitFiles

SOURCES = ("captions", "features", "pictures")
PICTURES_AT_ONCE = 512
"""Pictures of a block: each is decoded."""


def embed_split(model: DualEncoder, split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of the images (n_images, dim) and captions (n_captions, dim) of a split, on the
    model's device if they fit there; what a frozen text model reads is kept in the cache folder."""
    doing("embedding")
    model.remember(split.captions, cache_folder() / "text")
    both = model.encode_images(split.image_features), model.encode_sentences(split.captions)
    images, captions = map(torch.from_numpy, both)
    there = fits(images.nbytes + captions.nbytes, model.device)
    device = model.device if there else images.device
    return images.to(device), captions.to(device)


def embed_files(
    model: DualEncoder, config: Mapping[str, Any], shard: Shard | None = None
) -> int | None:
    """Write the vectors of the captions, image features or pictures that the keys in
    conf/embed.yaml name, and beside those of pictures their names (`_images.txt`); returns their
    number, or None after a `shard` while others are missing.

    UserError for files that are missing, broken or made for other models.
    """
    if sum(config.get(key) is not None for key in SOURCES) != 1:
        raise UserError("Give either captions=…, features=… or pictures=…: what is to be embedded.")
    size, batch = config["block"], config["batch_size"]
    if config["captions"] is not None:
        if config["captions"] == "-" and shard is not None:
            raise UserError("Each share reads the captions itself: give a file, and not -.")
        with _open_captions(config["captions"]) as file:
            count = sum(1 for _ in _lines(file, config["captions"]))

            def of_captions(share: range) -> Iterator[np.ndarray]:
                file.seek(0)
                lines = islice(_lines(file, config["captions"]), share.start * size, None)
                for _ in share:
                    yield model.encode_sentences(list(islice(lines, size)), batch_size=batch)

            sizes = [min(size, count - start) for start in range(0, count, size)]
            return _write(model, config, "captions", sizes, of_captions, shard)
    if config.get("pictures") is not None:
        return _embed_pictures(model, config, shard)
    path = Path(config["features"])
    paths = [path] if path.suffix == ".npy" else _listed(path)
    for each in paths:
        model.check_features(feature_record(each), config["allow_feature_mismatch"])
    planned = _planned(paths, size)

    def of_images(share: range) -> Iterator[np.ndarray]:
        for block in _feature_blocks(planned[share.start : share.stop]):
            rows = normalize(block, dim=-1) if config["normalize_features"] else block
            yield model.encode_images(rows.numpy(), batch_size=batch)

    sizes = [sum(part.stop - part.start for _, part in block) for block in planned]
    return _write(model, config, "images", sizes, of_images, shard)


def _embed_pictures(
    model: DualEncoder, config: Mapping[str, Any], shard: Shard | None
) -> int | None:
    if model.preprocessing is None:
        raise UserError(f"{model.name} takes image features, not pictures: features=FILE.npy.")
    pictures, cut = open_pictures(config["pictures"]), model.preprocessing
    names, size = list(pictures.names), min(config["block"], PICTURES_AT_ONCE)
    listed = SplitFiles.of_features(config["output"]).images
    if listed.is_file() and read_lines(listed) != names:
        raise UserError(f"{listed} names other pictures than {config['pictures']}: remove it.")

    def of_pictures(share: range) -> Iterator[np.ndarray]:
        for number in share:
            some = select(pictures, names[number * size : (number + 1) * size])
            yield model.encode_images(PictureRows(some, cut))

    sizes = [min(size, len(names) - start) for start in range(0, len(names), size)]
    count = _write(model, config, "images", sizes, of_pictures, shard)
    write_text(listed, as_lines(names))
    return count


def _open_captions(name: str) -> IO[bytes]:
    """The file, which is read twice: first to count; standard input is kept on disk for that."""
    if name == "-":
        copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        return copy
    try:
        return open(name, "rb")
    except OSError as error:
        raise UserError(f"Cannot read {name}: {error.strerror}.") from error


def _lines(file: IO[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        try:
            yield line.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError(f"{name} line {number} is not UTF-8: convert the file.") from None


def _listed(path: Path) -> list[Path]:
    """The files that a text file lists, relative to it."""
    try:
        lines = read_text(path).split("\n")
    except UserError as error:
        raise UserError(
            f"features={path} is neither a .npy nor a readable list of such files."
        ) from error
    return [path.parent / line.strip() for line in lines if line.strip()]


Parts = list[tuple[Path, slice]]
"""Rows of files, one after the other."""


def _planned(paths: Iterable[Path], size: int) -> list[Parts]:
    """Blocks of about `size` rows: parts of large files, or many small files together."""
    planned: list[Parts] = []
    held = size
    for path in paths:
        count = len(open_features(path, single=True))
        for start in range(0, count, size):
            if held >= size:
                planned.append([])
                held = 0
            planned[-1].append((path, slice(start, min(start + size, count))))
            held += planned[-1][-1][1].stop - start
    return planned


def _feature_blocks(planned: Iterable[Parts]) -> Iterator[torch.Tensor]:
    for parts in planned:
        rows: list[torch.Tensor] = []
        for path, part in parts:
            array = open_features(path, single=True)
            rows.append(torch.from_numpy(np.array(array[part], dtype=np.float32)))
            require_finite(rows[-1], str(path), part.start)
            if rows[-1].shape[1:] != rows[0].shape[1:]:
                shapes = tuple(rows[-1].shape[1:]), tuple(rows[0].shape[1:])
                raise UserError(
                    f"{path} holds rows of shape {shapes[0]}, and the files before it {shapes[1]}: "
                    "all must be alike."
                )
        yield torch.cat(rows)


def _write(
    model: DualEncoder,
    config: Mapping[str, Any],
    what: Literal["captions", "images"],
    sizes: Sequence[int],
    make: Callable[[range], Iterator[np.ndarray]],
    shard: Shard | None,
) -> int | None:
    """Write a `.npy` of the rows of all blocks as they come, nothing where one fails; of a shard
    a file each of its own, and in the end all."""
    if not sizes:
        raise UserError(f"There are no {what} to embed.")
    output, count = Path(config["output"]), sum(sizes)
    if shard is None:
        blocks = _watched(range(len(sizes)), sizes, make, what)
        write_rows(output, (count, model.dim), np.dtype("<f4"), blocks)
        return count
    source = Path(next(config[key] for key in SOURCES if config.get(key) is not None))
    keys = {key: config[key] for key in ("block", "batch_size", "normalize_features")}
    folder = shard.folder(
        output, [model.fingerprint(), str(model.autocast), stamp(source), sizes, keys]
    )
    files = [f"{number}.npy" for number in range(len(sizes))]
    shard.write(folder, files, lambda blocks: _watched(blocks, sizes, make, what), put_rows)
    with shard.last(folder, files) as whole:
        if whole:
            parts = [folder / name for name in files]
            write_rows(output, (count, model.dim), np.dtype("<f4"), joined_rows(parts))
    return count if whole else None


def _watched(
    blocks: range,
    sizes: Sequence[int],
    make: Callable[[range], Iterator[np.ndarray]],
    what: str,
) -> Iterator[np.ndarray]:
    """The blocks as they come, with progress."""
    done, count = 0, sum(sizes[number] for number in blocks)
    with progress(f"embedding {what}", what) as update:
        for block in make(blocks):
            update(done, count)
            yield block
            done += len(block)
        update(done, count)
