"""Training on pictures: frozen and learning backbones, resuming, and the commands afterwards."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from commands import run_command
from conftest import composed, random_captions
from vse_exp import evaluate, index, report, retrieve
from vse_exp.compat.loading import load_model
from vse_exp.data.scenes import write_pictures
from vse_exp.errors import Interrupted, UserError
from vse_exp.models.backbone import build_trunk
from vse_exp.training.fit import train
from vse_exp.training.interruption import SaveOnSignal

SCENES = ["data.scenes.n_train=12", "data.scenes.n_dev=4", "data.scenes.n_test=4"]
SMALL = ["model.image_encoder.transform={size: 32}", "model.dim=8", "data.eval_batch_size=64"]
SMALL += ["data.batch_size=30", "valid_freq=3", "max_epochs=2", "progress=false"]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def config(
    run: Path, *overrides: str, data: list[str] = SCENES, small: list[str] = SMALL
) -> DictConfig:
    experiment = ["experiment=scenes_pixels", f"paths.run_dir={run}"]
    return composed("train", [*experiment, *data, *small, *overrides])


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run on the built-in pictures."""
    run = tmp_path_factory.mktemp("run")
    assert train(config(run))["test"]["rsum"] > 0
    return run


@pytest.mark.parametrize(("epochs", "learned"), [(1, False), (2, True)])
def test_a_frozen_backbone_learns_from_its_epoch_on(tmp_path, epochs, learned):
    train(config(tmp_path, "model.image_encoder.unfreeze_epoch=1", f"max_epochs={epochs}",
                 "ema=0.9", "optimizer.weight_decay=0.1", "decay_c=0.01",
                 "lr_scales={image_encoder.backbone: 0.5}"))  # fmt: skip
    found = weights(tmp_path / "checkpoints" / "last.ckpt")
    start = build_trunk("small_cnn", transform={"size": 32}, seed=1).module.state_dict()
    kept = [torch.equal(found[f"model.image_encoder.backbone.{k}"], v) for k, v in start.items()]
    assert not any(kept) if learned else all(kept)


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path, monkeypatch):
    options = [
        "model.image_encoder.unfreeze_epoch=1",
        "data.augmentation.colour=0.2",
        "valid_freq=2",
    ]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config(whole, *options))
    receive = SaveOnSignal.on_train_batch_end

    def signalled(self: Any, trainer: Any, *arguments: Any) -> None:
        if trainer.global_step == 3:  # in mid-epoch, the backbone learning
            signal.raise_signal(signal.SIGTERM)
        receive(self, trainer, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(SaveOnSignal, "on_train_batch_end", signalled)
        with pytest.raises(Interrupted):
            train(config(parts, *options))
    train(config(parts, *options))
    mine, theirs = (weights(run / "checkpoints" / "last.ckpt") for run in (parts, whole))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_a_checkpoint_needs_no_weights_file(tmp_path):
    """Pictures of one's own in a folder, a name a caption, and a backbone that stays frozen."""
    start = build_trunk("shufflenet_v2_x0_5", seed=7).module
    torch.save(start.state_dict(), tmp_path / "start.pth")
    names = [f"{number}.png" for number in range(6)]
    (tmp_path / "pictures").mkdir()
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / name)
    (tmp_path / "mine").mkdir()
    for split in ("train", "dev", "test"):
        stem = tmp_path / "mine" / f"mine_{split}"
        stem.with_name(f"{stem.name}_caps.txt").write_text("\n".join(random_captions(8)) + "\n")
        order = [*names, names[2], names[0]]
        stem.with_name(f"{stem.name}_images.txt").write_text("\n".join(order) + "\n")
    data = ["data=folder", "data.name=mine", f"paths.data_dir={tmp_path}"]
    data += [f"data.pictures={tmp_path / 'pictures'}"]
    with pytest.raises(UserError, match=r"takes image features, .* model\.image_encoder=backbone"):
        train(config(tmp_path / "run", "model.image_encoder=mlp", small=SMALL[1:], data=data))
    train(config(tmp_path / "run", "model.image_encoder.backbone=shufflenet_v2_x0_5",
                 "resume=never", f"model.image_encoder.weights={tmp_path / 'start.pth'}",
                 "model.image_encoder.unfreeze_epoch=null",
                 "model.image_encoder.head.center=true", data=data))  # fmt: skip
    (tmp_path / "start.pth").unlink()
    model = load_model(tmp_path / "run" / "checkpoints" / "best.ckpt")
    for key, value in start.state_dict().items():
        assert torch.equal(model.image_encoder.state_dict()[f"backbone.{key}"], value)
    paths = [tmp_path / "pictures" / name for name in names]
    by_path = model.encode_images(paths, batch_size=4)
    assert model.preprocessing is not None
    cut = torch.cat([model.preprocessing.views_of(Image.open(path)) for path in paths])
    np.testing.assert_allclose(by_path, model.encode_images(cut.numpy()), atol=1e-5)
    for wrong, message in ((np.zeros((2, 9)), r"shape \(2, 9\)"), ("a.png", "in a list"),
                           ([tmp_path / "none.png"], "no such file")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            model.encode_images(wrong)


def run(command: Any, *arguments: str, capsys: pytest.CaptureFixture, code: int = 0) -> str:
    printed = run_command(command, *arguments, capsys=capsys, code=code)
    return printed.err if code else printed.out


def test_all_commands_take_such_a_model(trained: Path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoint = f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}"
    run(evaluate.main, checkpoint, *SCENES, "output=found.json", "hubness=false", capsys=capsys)
    results = json.loads((trained / "results.json").read_text())
    found = json.loads(Path("found.json").read_text())
    assert found["rsum"] == pytest.approx(results["test"]["rsum"])
    run(report.main, checkpoint, *SCENES, "output=report", capsys=capsys)
    assert Path("report/index.html").is_file()
    write_pictures("photos", [f"scene_0_test_0000{row}.png" for row in range(3)])
    photo = "query=photos/scene_0_test_00002.png"
    run(index.main, checkpoint, "data=scenes", *SCENES, "output=g", capsys=capsys)
    for source in ("gallery=g", "pictures=photos"):
        search = ("k=1", "format=json", "target=images", photo)
        printed = run(retrieve.main, checkpoint, source, *search, capsys=capsys)
        (hit,) = json.loads(printed)[0]["hits"]
        assert hit["name"].endswith("scene_0_test_00002.png")
        assert hit["score"] == pytest.approx(1, abs=1e-3)
    told = run(index.main, checkpoint, "output=none", capsys=capsys, code=1)
    assert "pictures=FOLDER" in told


def test_features_and_pictures_do_not_mix(trained: Path, tmp_path, capsys):
    train(config(tmp_path, "model.image_encoder=linear", "max_epochs=1", small=SMALL[1:]))
    both = [str(folder / "checkpoints" / "best.ckpt") for folder in (trained, tmp_path)]
    told = run(evaluate.main, f"checkpoint=[{','.join(both)}]", *SCENES, capsys=capsys, code=1)
    assert "take different images" in told
