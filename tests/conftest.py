"""Paths of real data and golden files, and small data sets in every layout."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

if "PYTEST_XDIST_WORKER" in os.environ:
    # one worker a core: threads of theirs beside it would mostly wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import vse_exp.train  # noqa: F401  (registers what ${run_name:} in its config stands for)
from vse_exp.cli import config_dir
from vse_exp.parts import without_foreign_keys

multiprocessing.set_forkserver_preload(["forks_preloaded"])


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value or not Path(value).is_dir():
        pytest.skip(f"needs the folder that {variable} names, which is not here")
    return Path(value)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Outputs of the original programs: those beside this file, or in VSE_GOLDEN_DIR."""
    if os.environ.get("VSE_GOLDEN_DIR"):
        return _folder("VSE_GOLDEN_DIR")
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds the real data sets."""
    return _folder("VSE_DATA_DIR")


WORDS = "a the dog cat boy girl runs sits jumps red blue green on in park water ball".split()


def random_captions(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=int(random.integers(2, 8)))) for _ in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def random_features(count: int, dim: int = 12, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_dataset(
    root: Path, name: str = "tiny", images: int = 12, per_image: int = 3, dim: int = 12
) -> Path:
    """A data set with one row an image and contiguous captions."""
    folder = root / name
    folder.mkdir(parents=True)
    for seed, split in enumerate(("train", "dev", "test")):
        captions = random_captions(images * per_image, seed)
        (folder / f"{name}_{split}_caps.txt").write_text("\n".join(captions) + "\n")
        np.save(folder / f"{name}_{split}_ims.npy", random_features(images, dim, seed))
    return root


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Root of a small data set called `tiny`."""
    return write_dataset(tmp_path / "data")


@functools.cache
def _composed(name: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        values = OmegaConf.to_container(compose(name, list(overrides)))
    assert isinstance(values, dict)
    without_foreign_keys(cast(dict[str, Any], values), overrides)
    return cast(dict[str, Any], values)


def composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command (composing takes a third of a second: what was asked is kept)."""
    return OmegaConf.create(_composed(name, tuple(overrides)))


def configuration(data: Path, run_dir: Path, *overrides: str) -> DictConfig:
    """The config of a short training on the data set `tiny` under `data`."""
    cfg = composed(
        "train",
        [
            "data=custom",
            "data.name=tiny",
            "data.batch_size=4",
            "model.dim=8",
            "valid_freq=3",
            "max_epochs=3",
            "progress=false",
            *overrides,
        ],
    )
    given = {override.partition("=")[0] for override in overrides}
    for key, path in {"data_dir": data, "run_dir": run_dir}.items():
        if f"paths.{key}" not in given:
            cfg.paths[key] = str(path)
    return cfg
