"""How training features come to their device: the same numbers, whatever the way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import composed, random_features, write_dataset
from vse_exp.data import datamodule as module
from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.errors import UserError
from vse_exp.training.building import build_parts, plain
from vse_exp.training.trainer import quiet_lightning


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set `tiny` of float16 rows whose norms are not 1."""
    root = write_dataset(tmp_path_factory.mktemp("data"))
    for number, file in enumerate(sorted((root / "tiny").glob("*_ims.npy"))):
        np.save(file, (3 * random_features(len(np.load(file)), seed=number)).astype(np.float16))
    return root


def keys(data: Path, *overrides: str) -> Any:
    return composed(
        "train",
        ["data=custom", "data.name=tiny", f"paths.data_dir={data}", "paths.run_dir=x",
         "data.normalize_features=true", "data.batch_size=7", "model.dim=8", *overrides],
    )  # fmt: skip


def opened(data: Path, *overrides: str) -> RetrievalDataModule:
    return RetrievalDataModule(plain(keys(data, *overrides).data), seed=1)


def batches(data: RetrievalDataModule, count: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """Captions and images of an epoch's, or of so many, batches as a model is given them."""
    found = []
    for batch in data.train_dataloader():
        there = data.on_after_batch_transfer(batch, 0)
        found.append((there.caption_index, there.images))
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize(
    "way", ["data.on_device=true", "data.on_device=false", "data.in_memory=true",
            "data.num_workers=1"]
)  # fmt: skip
def test_rows_are_those_of_the_file(data, way):
    found = opened(data, way)
    rows = np.load(data / "tiny" / "tiny_train_ims.npy").astype(np.float32)
    split = found.split("train")
    for captions, images in batches(found):
        expected = torch.from_numpy(rows[split.caption_image[captions]])
        expected = torch.nn.functional.normalize(expected, dim=-1)
        assert torch.equal(images, expected)


def test_what_lies_on_the_device_is_not_fetched(data):
    resident, mapped = (opened(data, f"data.on_device={way}") for way in ("true", "auto"))
    assert [next(iter(one.train_dataloader())).images.dtype for one in (resident, mapped)] == [
        torch.int64, torch.float16,
    ]  # fmt: skip


@pytest.mark.parametrize(("free", "stays"), [(1 << 30, True), (1 << 8, False), (None, True)])
def test_features_stay_where_there_is_room(data, free, stays, monkeypatch):
    monkeypatch.setattr("vse_exp.device.free_memory", lambda _: free)
    monkeypatch.setattr(module, "spare_processors", lambda: 1)
    there = SimpleNamespace(root_device=torch.device("meta"))
    for way in ("auto", "false"):
        found = opened(data, f"data.on_device={way}")
        trainer: Any = SimpleNamespace(strategy=there, global_rank=0, world_size=1, current_epoch=0)
        found.trainer = trainer
        loader: Any = found.train_dataloader()
        resident = stays and way == "auto"
        assert loader.num_workers == (0 if resident else 1)
        assert loader.persistent_workers is not resident
        assert (loader.dataset.images.fetched) is not resident


def test_a_resumed_epoch_goes_on_where_it_was_with_workers_that_stay(data):
    whole, found = (opened(data, f"data.num_workers={count}") for count in (0, 1))
    loaders: Any = [one.train_dataloader() for one in (whole, found)]
    for epoch in range(2):
        for loader in loaders:
            loader.buckets.set_epoch(epoch)
        first, second = ([each.caption_index for each in loader] for loader in loaders)
        for one, other in zip(first, second, strict=True):
            assert torch.equal(one, other)
    iterator = iter(loaders[1])
    for _ in range(2):
        next(iterator)
    again = opened(data, "data.num_workers=1")
    again.load_state_dict({"train": loaders[1].state_dict()})
    rest = [batch.caption_index for batch in again.train_dataloader()]
    assert [one.tolist() for one in rest] == [one.tolist() for one in first[2:]]


def test_a_training_is_the_same_where_its_features_stay(data):
    weights = []
    for way in ("true", "false"):
        torch.manual_seed(0)
        trained, feeding = build_parts(keys(data, f"data.on_device={way}"))
        with quiet_lightning():
            trainer = pl.Trainer(
                accelerator="cpu", max_steps=3, logger=False, enable_checkpointing=False,
                enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
            )  # fmt: skip
            trainer.fit(trained, datamodule=feeding)
        weights.append(torch.cat([part.flatten() for part in trained.model.parameters()]))
    assert torch.equal(*weights)


def test_pictures_do_not_stay(data, monkeypatch):
    monkeypatch.setenv("VSE_CACHE_DIR", str(data / "cache"))
    scenes = [f"data.scenes.n_{split}=6" for split in ("train", "dev", "test")]
    cfg = composed(
        "train",
        ["experiment=scenes_pixels", "paths.run_dir=x", "data.on_device=true", *scenes,
         "data.batch_size=20", "model.image_encoder.transform={size: 32}"],
    )  # fmt: skip
    _, found = build_parts(cfg)
    with pytest.raises(UserError, match=r"data\.on_device=true is for image features"):
        found.train_dataloader()
