"""Embeddings of whole splits, and of files of any size, block by block."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch.nn.functional import normalize

from vse_exp.data.layouts import Split
from vse_exp.data.scenes.build import cache_folder
from vse_exp.errors import UserError
from vse_exp.files import read_text, write_rows
from vse_exp.images.features import open_features
from vse_exp.images.provenance import feature_record
from vse_exp.images.rows import require_finite
from vse_exp.models.dual import DualEncoder
from vse_exp.progress import progress


def embed_split(model: DualEncoder, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of the images (n_images, dim) and captions (n_captions, dim) of a split; what a
    frozen text model reads is kept in the cache folder."""
    model.remember(split.captions, cache_folder() / "text")
    return model.encode_images(split.image_features), model.encode_sentences(split.captions)


def embed_files(model: DualEncoder, config: Mapping[str, Any]) -> int:
    """Write the vectors of the captions or image features that the keys in conf/embed.yaml name;
    returns their number. UserError for files that are missing, broken or made for other models."""
    if (config["captions"] is None) == (config["features"] is None):
        raise UserError("Give either captions=… or features=…: what is to be embedded.")
    size, batch = config["block"], config["batch_size"]
    if config["captions"] is not None:
        with _open_captions(config["captions"]) as file:
            count = sum(1 for _ in _lines(file, config["captions"]))
            file.seek(0)
            lines = _lines(file, config["captions"])
            blocks = iter(lambda: list(islice(lines, size)), [])
            vectors = (model.encode_sentences(block, batch_size=batch) for block in blocks)
            return _write(config["output"], model.dim, count, vectors, "captions")
    path = Path(config["features"])
    paths = [path] if path.suffix == ".npy" else _listed(path)
    for each in paths:
        model.check_features(feature_record(each), config["allow_feature_mismatch"])
    count = sum(len(open_features(each, single=True)) for each in paths)
    features = _feature_blocks(paths, size, config["normalize_features"])
    vectors = (model.encode_images(block, batch_size=batch) for block in features)
    return _write(config["output"], model.dim, count, vectors, "images")


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


def _feature_blocks(paths: Iterable[Path], size: int, unit_norm: bool) -> Iterator[np.ndarray]:
    """Blocks of about `size` rows: parts of large files, or many small files together."""
    gathered: list[torch.Tensor] = []
    for path in paths:
        array = open_features(path, single=True)
        for start in range(0, len(array), size):
            block = torch.from_numpy(np.array(array[start : start + size], dtype=np.float32))
            require_finite(block, str(path), start)
            if gathered and block.shape[1:] != gathered[0].shape[1:]:
                shapes = tuple(block.shape[1:]), tuple(gathered[0].shape[1:])
                raise UserError(
                    f"{path} holds rows of shape {shapes[0]}, and the files before it {shapes[1]}: "
                    "all must be alike."
                )
            gathered.append(normalize(block, dim=-1) if unit_norm else block)
            if sum(map(len, gathered)) >= size:
                yield torch.cat(gathered).numpy()
                gathered = []
    if gathered:
        yield torch.cat(gathered).numpy()


def _write(path: str, dim: int, count: int, blocks: Iterable[np.ndarray], what: str) -> int:
    """Write `count` rows to a `.npy` file as they come; nothing is left if one fails."""
    if count == 0:
        raise UserError(f"There are no {what} to embed.")
    with progress(f"embedding {what}", what) as update:

        def watched() -> Iterator[np.ndarray]:
            done = 0
            for block in blocks:
                update(done, count)
                yield block
                done += len(block)
            update(done, count)

        write_rows(path, (count, dim), np.dtype("<f4"), watched())
    return count
