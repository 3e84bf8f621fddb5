"""`python -m vse_exp.embed`: vectors of sentences or image features; see conf/embed.yaml."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import torch
from omegaconf import DictConfig

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError
from vse_exp.files import write_rows
from vse_exp.images.rows import require_finite
from vse_exp.progress import progress

if TYPE_CHECKING:
    from vse_exp.models.vse import VSE


@hydra_entry("embed")
def main(cfg: DictConfig) -> None:
    from vse_exp.models.checkpoint import load_model

    if (cfg.captions is None) == (cfg.features is None):
        raise UserError("Give either captions=… or features=…: what is to be embedded.")
    if Path(cfg.output).suffix != ".npy":
        raise UserError(f"output={cfg.output} does not end in .npy: vectors are written as such.")
    if cfg.block < 1 or cfg.batch_size < 1:
        raise UserError("block and batch_size must be at least 1.")
    model = load_model(cfg.checkpoint, cfg.device)
    embed = _embed_captions if cfg.captions is not None else _embed_features
    embed(model, cfg)


def _embed_captions(model: VSE, cfg: DictConfig) -> None:
    with _open_captions(cfg.captions) as file:
        count = sum(1 for _ in _lines(file, cfg.captions))
        file.seek(0)
        lines = _lines(file, cfg.captions)
        blocks = iter(lambda: list(islice(lines, cfg.block)), [])
        encode = model.encode_sentences
        vectors = (encode(block, batch_size=cfg.batch_size) for block in blocks)
        _write(Path(cfg.output), count, model.config.dim, vectors, "captions")


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


def _embed_features(model: VSE, cfg: DictConfig) -> None:
    from vse_exp.images.provenance import feature_record, require_compatible

    path = Path(cfg.features)
    paths = [path] if path.suffix == ".npy" else _listed(path)
    count = sum(len(_vectors(each)) for each in paths)
    for each in paths:
        require_compatible(model.provenance, feature_record(each), cfg.allow_feature_mismatch)
    blocks = _feature_blocks(paths, cfg.block, cfg.normalize_features)
    encode = model.encode_images
    vectors = (encode(block, batch_size=cfg.batch_size) for block in blocks)
    _write(Path(cfg.output), count, model.config.dim, vectors, "images")


def _listed(path: Path) -> list[Path]:
    """The files that a text file lists, relative to it."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"features={path} is neither a .npy nor a readable list of such files."
        ) from error
    return [path.parent / line.strip() for line in lines if line.strip()]


def _vectors(path: Path) -> np.ndarray:
    """A memory map of the rows of a file; a file of one vector is one row."""
    from vse_exp.images.features import open_features

    return open_features(path, single=True)


def _feature_blocks(paths: Iterable[Path], size: int, normalize: bool) -> Iterator[np.ndarray]:
    """Blocks of about `size` rows: parts of large files, or many small files together."""
    gathered: list[np.ndarray] = []
    for path in paths:
        array = _vectors(path)
        for start in range(0, len(array), size):
            block = np.array(array[start : start + size], dtype=np.float32)
            require_finite(torch.from_numpy(block), str(path), start)
            if normalize:
                block /= np.maximum(np.linalg.norm(block, axis=-1, keepdims=True), 1e-12)
            if gathered and block.shape[1:] != gathered[0].shape[1:]:
                raise UserError(
                    f"{path} holds rows of shape {block.shape[1:]}, and the files before it "
                    f"{gathered[0].shape[1:]}: all must be alike."
                )
            gathered.append(block)
            if sum(map(len, gathered)) >= size:
                yield np.concatenate(gathered)
                gathered = []
    if gathered:
        yield np.concatenate(gathered)


def _write(path: Path, count: int, dim: int, blocks: Iterator[np.ndarray], what: str) -> None:
    """Write `count` rows to a `.npy` file as they come; nothing is left if one fails."""
    if count == 0:
        raise UserError(f"There are no {what} to embed.")
    with progress(f"embedding {what}", what) as update:
        write_rows(path, (count, dim), np.dtype("<f4"), _watched(blocks, count, update))


def _watched(
    blocks: Iterator[np.ndarray], count: int, update: Callable[[int, int], None]
) -> Iterator[np.ndarray]:
    done = 0
    for block in blocks:
        update(done, count)
        yield block
        done += len(block)
    update(done, count)


if __name__ == "__main__":
    main()
