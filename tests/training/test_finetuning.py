"""Training both towers of a CLIP on the built-in pictures."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from commands import run_command
from conftest import composed
from tower_models import write_clip
from vse_exp.compat.loading import load_model
from vse_exp.errors import Interrupted
from vse_exp.export import main as export
from vse_exp.models.vse import VSE
from vse_exp.training.building import build_parts
from vse_exp.training.fit import train
from vse_exp.training.interruption import SaveOnSignal

pytest.importorskip("transformers", reason="needs the extra `text`")
WORDS = "a the and of large small red green blue yellow black white circle square triangle".split()
SCENES = ["data.scenes.n_train=24", "data.scenes.n_dev=4", "data.scenes.n_test=4"]
SHORT = ["data.batch_size=10", "valid_freq=4", "max_epochs=1", "lrate=1e-3", "progress=false"]


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"), WORDS)


def config(run: Path, clip: Path, *overrides: str) -> DictConfig:
    towers = ["experiment=finetune_clip", f"model.encoder.model={clip}", "data=scenes"]
    return composed("train", [*towers, f"paths.run_dir={run}", *SCENES, *SHORT, *overrides])


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize("learn", ["all", "lora"])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(clip, tmp_path, monkeypatch, learn):
    if learn == "lora":
        pytest.importorskip("peft", reason="needs the extra `lora`")
    options = [
        f"model.encoder.learn={learn}", "model.encoder.unfreeze_epoch=1", "max_epochs=2",
        "model.encoder.gradient_checkpointing=true", "model.encoder.lora_dropout=0.1",
        "chunk_size=4", "data.captions_together=2", "data.batch_size=24", "ema=0.9",
        "lr_scales={image_encoder: 0.1}",
    ]  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config(whole, clip, *options))
    receive = SaveOnSignal.on_train_batch_end

    def signalled(self: Any, trainer: Any, *arguments: Any) -> None:
        if trainer.global_step == 7:  # in mid-epoch, the towers learning
            signal.raise_signal(signal.SIGTERM)
        receive(self, trainer, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(SaveOnSignal, "on_train_batch_end", signalled)
        with pytest.raises(Interrupted):
            train(config(parts, clip, *options))
    train(config(parts, clip, *options))
    mine, theirs = (weights(run / "checkpoints" / "last.ckpt") for run in (parts, whole))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    best = whole / "checkpoints" / "best.ckpt"
    logit = torch.load(best, weights_only=True)["extra"]["logit"]
    assert logit["scale"] == pytest.approx(1 / 0.07, rel=0.05)
    model = load_model(best)
    assert isinstance(model, VSE)
    before = model.encode_sentences(["a red circle"])
    model.merge_adapters()
    np.testing.assert_allclose(model.encode_sentences(["a red circle"]), before, atol=1e-6)


def test_heads_alone_and_a_rate_a_tower(clip, tmp_path):
    train(config(tmp_path, clip, "model.encoder.learn=heads",
                 "lr_scales={sentence_encoder: 1e-9}"))  # fmt: skip
    found = weights(tmp_path / "checkpoints" / "last.ckpt")
    start = build_parts(config(tmp_path / "none", clip))[0].model.state_dict()
    moved = {
        name for name, value in start.items()
        if not torch.allclose(found[f"model.{name}"], value, rtol=0, atol=1e-7)
    }  # fmt: skip
    assert moved == {"image_encoder.tower.visual_projection.weight"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_scratch_on_the_built_in_pictures_and_adapters_on_it(tmp_path, capsys):
    """Minutes on a core of its own, and many more on a shared one; chance is an rsum of 16."""
    pytest.importorskip("peft", reason="needs the extra `lora`")
    sizes = [
        f"data.scenes.n_{split}={n}" for split, n in (("train", 2000), ("dev", 200), ("test", 200))
    ]
    plain = build_parts(composed("train", ["data=scenes", *sizes, "paths.run_dir=x"]))[1]
    words = plain.vocabulary.words
    text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
    image = {"hidden_size": 96, "num_attention_heads": 3, "intermediate_size": 192}
    clip = write_clip(tmp_path / "clip", words, text, image_size=48, **image)
    keys = [*sizes, "data.captions_together=5", "data.batch_size=250", "optimizer.weight_decay=0.3"]
    scratch = ["max_epochs=15", "lrate=2e-3", "valid_freq=150"]
    found = train(config(tmp_path / "run", clip, *keys, *scratch))["test"]["rsum"]
    assert found > 150

    library, best = tmp_path / "library", "checkpoints/best.ckpt"
    given = [f"checkpoint={tmp_path / 'run' / best}", f"output={library}", "format=library"]
    run_command(export, *given, capsys=capsys)
    lora = ["model.encoder.learn=lora", "max_epochs=2", "valid_freq=40"]
    tuned = train(config(tmp_path / "lora", library, *keys, *lora))["test"]["rsum"]
    print(f"\nfrom scratch {found:.1f}, with adapters {tuned:.1f}")
    assert tuned > 150
    model = load_model(tmp_path / "lora" / best)
    assert isinstance(model, VSE)
    pictures = np.random.default_rng(0).standard_normal((3, 3, 48, 48)).astype(np.float32)
    sentences = ["a red circle", "a blue square above a green triangle"]
    expected = model.encode_sentences(sentences), model.encode_images(pictures)
    model.merge_adapters()
    assert not any(".lora_" in name for name in model.state_dict())
    np.testing.assert_allclose(model.encode_sentences(sentences), expected[0], atol=1e-6)
    np.testing.assert_allclose(model.encode_images(pictures), expected[1], atol=1e-6)
