"""No update waits for the GPU, whatever the parts: Lightning's loop on a device without values."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from computing_gpu import computing_gpu
from conftest import WORDS, composed, write_dataset
from fake_gpu import GPU, Refused, Watch
from test_configs import WITH_OTHER_DATA, options
from text_model import write_text_model
from vse_exp.runs.folder import RunFolder
from vse_exp.training.building import build_parts
from vse_exp.training.module import RetrievalModule
from vse_exp.training.trainer import build_trainer, quiet_lightning

UPDATES = 2


STRATEGY = "{_target_: fake_gpu.fake_strategy}"
ACCELERATOR = "{_target_: fake_gpu.FakeAccelerator}"


class From(pl.Callback):
    """Watches all that happens from the first update on; before it, a model moves to its GPU."""

    def __init__(self, watch: ExitStack) -> None:
        self.watch = watch

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 0:
            self.watched = self.watch.enter_context(Watch())


def teach(module: RetrievalModule, *_: Any) -> None:
    if module.loss.taught:  # by any teacher
        module.loss.learn_from(torch.randn(12, 5), torch.randn(36, 5))


def updates(data: Path, *overrides: str) -> int:
    """Trains for some updates on the fake GPU; the number of operations there."""
    cfg = composed(
        "train",
        ["data=custom", "data.name=tiny", f"paths.data_dir={data}", "paths.run_dir=x",
         "data.batch_size=6", "model.dim=8", "progress=false", f"trainer.max_steps={UPDATES}",
         "+trainer.strategy={_target_: fake_gpu.FakeStrategy}",
         "trainer.accelerator={_target_: fake_gpu.FakeAccelerator}", *overrides],
    )  # fmt: skip
    with patch("vse_exp.training.building.teach", teach):
        module, datamodule = build_parts(cfg)
    with quiet_lightning(), ExitStack() as watch:
        begin = From(watch)
        trainer = build_trainer(cfg, RunFolder(data / "run"), [begin])
        trainer.fit(module, datamodule=datamodule)
    assert trainer.global_step == UPDATES
    return begin.watched.counted


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of vectors, `tiny`, and one of regions, `regions`."""
    root = write_dataset(tmp_path_factory.mktemp("data"))
    write_dataset(root, "regions")
    for file in (root / "regions").glob("*.npy"):
        np.save(file, np.random.default_rng(0).standard_normal((12, 5, 12), np.float32))
    return root


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="needs the extra `text`")
    return write_text_model(tmp_path_factory.mktemp("text"), WORDS)


ON_GPU = [one for one in options("optimizer") if one != "lazy_adam"]  # which refuses it
WORDS_ONLY = [
    one for one in options("model.encoder") if one not in ("pretrained", "fused", "tower")
]
REGIONS = "data.name=regions model.image_encoder.region_dropout=0.5"
CASES = [
    *(f"experiment={one}" for one in options("experiment") if one not in WITH_OTHER_DATA),
    *(f"loss={one}" for one in options("loss")),
    "loss=hinge loss.ncon=3",
    *(f"optimizer={one}" for one in ON_GPU),
    *(f"scheduler={one}" for one in options("scheduler")),
    *(f"callbacks={one}" for one in options("callbacks")),
    *(f"model.similarity={one}" for one in options("model.similarity")),
    *(f"model.encoder={one} data.bucket_width={width}" for one in WORDS_ONLY for width in (1, 8)),
    "model.encoder=lstm model.encoder.bidirectional=true model.encoder.num_layers=2",
    *(
        f"model.encoder={one} model.encoder.pooling={pooling} data.bucket_width=8"
        for one in ("bow", "gru", "transformer")
        for pooling in options("model.encoder.pooling")
    ),
    *(
        f"model.image_encoder={one}"
        for one in options("model.image_encoder")
        if one not in ("backbone", "tower")
    ),
    *(
        f"{REGIONS} model.image_encoder.pooling={one}"
        for one in options("model.image_encoder.pooling")
    ),
    "data.on_device=false data.num_workers=0",
    "ema=0.9",
    "chunk_size=4",
    "decay_c=0.1",
    "decay_weights_only=true",
    "trainer.accumulate_grad_batches=2",
    "data.captions_together=3",
]


@pytest.mark.parametrize("overrides", CASES)
def test_no_update_waits(data, overrides):
    assert updates(data, "model.encoder.word_dropout=0.5", *overrides.split()) > 0


@pytest.mark.parametrize(
    "keys",
    [
        "experiment=pretrained_text",
        "experiment=fused",
        "experiment=pretrained_text model.encoder.frozen=false model.encoder.word_dropout=0.5",
    ],
)
def test_no_update_of_a_pretrained_text_model_waits(data, text_model, monkeypatch, keys):
    monkeypatch.setenv("VSE_CACHE_DIR", str(data / "cache"))
    inside = "model.encoder.sentences" if "fused" in keys else "model.encoder"
    assert updates(
        data, *keys.split(),
        f"{inside}.model={text_model}", "data.batch_size=6",
    )  # fmt: skip


@pytest.mark.parametrize("option", ["unfreeze_epoch=0", "unfreeze_epoch=1", "head=mlp", "chunks"])
def test_no_update_on_pictures_waits(data, monkeypatch, option):
    monkeypatch.setenv("VSE_CACHE_DIR", str(data / "cache"))
    scenes = [f"data.scenes.n_{split}=12" for split in ("train", "dev", "test")]
    assert updates(
        data, "experiment=scenes_pixels", "data=scenes", "data.name=scenes", *scenes,
        "data.batch_size=20", "model.image_encoder.transform={size: 32}",
        "chunk_size=4" if option == "chunks" else f"model.image_encoder.{option}",
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")  # that GPU's name
@pytest.mark.parametrize("kind", ["captions", "pictures"])
def test_what_comes_before_a_training_is_computed_there(data, text_model, monkeypatch, kind):
    """The captions' vectors, and means over images that a backbone reads."""
    scenes = [f"data.scenes.n_{split}=12" for split in ("train", "dev", "test")]
    keys = {
        "captions": ["data=custom", "data.name=tiny", f"paths.data_dir={data}",
                     "model.encoder=pretrained", f"model.encoder.model={text_model}",
                     "model.encoder.center=true", "model.image_encoder.center=true"],
        "pictures": ["experiment=scenes_pixels", "data=scenes", "data.name=scenes", *scenes,
                     "model.image_encoder.transform={size: 32}",
                     "model.image_encoder.head.center=true"],
    }  # fmt: skip
    cfg, states = composed("train", [*keys[kind], "model.dim=8", "paths.run_dir=x"]), []
    for name, device in (("cpu", torch.device("cpu")), ("gpu", GPU)):
        monkeypatch.setenv("VSE_CACHE_DIR", str(data / kind / name))
        torch.manual_seed(0)
        with computing_gpu() if name == "gpu" else nullcontext() as gpu:
            states.append(build_parts(cfg, device)[0].model.state_dict())
    assert gpu is not None
    assert gpu.kernels > 100
    for one, other in zip(states[0].values(), states[1].values(), strict=True):
        torch.testing.assert_close(one, other)


def test_what_waits_or_mixes_devices_is_refused():
    there = torch.empty(3, device=GPU)
    with Watch():
        there.mul(2).add_(torch.ones(()))
        torch.ones(3).to(GPU, non_blocking=True)
        for each in (
            lambda: there + torch.ones(3),
            lambda: there.sum().item(),
            lambda: there[there > 0],
            lambda: there[torch.zeros(1, dtype=torch.long)],
            lambda: torch.ones(3).to(GPU),
            lambda: torch.tensor([1.0], device=GPU),
            lambda: there.new_tensor(1.0),
            lambda: there.cpu(),
            lambda: there.unique(),
            lambda: there.copy_(torch.ones(3)),
            lambda: torch._foreach_mul_([there], [torch.ones(())]),
        ):
            with pytest.raises(Refused):
                each()
