"""Whole trainings on a tiny data set, in process."""

from __future__ import annotations

import csv
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from conftest import configuration
from vse_exp.errors import Interrupted, UserError
from vse_exp.lightning.interruption import SaveOnSignal
from vse_exp.lightning.training import train
from vse_exp.models.checkpoint import load_model


def weights(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)["state_dict"]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        found = list(csv.DictReader(file))
    for row in found:
        row.pop("train/captions_per_second", None)
    return found


@pytest.mark.parametrize("encoder", ["bow", "gru", "lstm"])
def test_a_run_leaves_everything_in_its_folder(tiny, tmp_path, encoder):
    run = tmp_path / "run"
    results = train(configuration(tiny, run, f"model.encoder={encoder}"))
    assert set(results["test"]) >= {"aR@1", "sR@10", "aMedr", "sMedr", "rsum", "protocol"}
    assert "12 images x 36 captions" in results["test"]["protocol"]
    assert OmegaConf.load(run / "config.yaml").model.encoder == encoder
    for name in ("about.json", "overrides.json", "train.log", "checkpoints/last.ckpt"):
        assert (run / name).stat().st_size > 0
    model = load_model(run / "checkpoints" / "best.ckpt")
    assert model.encode_sentences(["a dog", ""]).shape == (2, 8)
    validated = [row for row in rows(run) if row["val/rsum"]]
    assert next(int(row["step"]) for row in validated) == 3
    best = max(float(row["val/rsum"]) for row in validated)
    assert results["dev"]["rsum"] == pytest.approx(best)


def test_the_end_of_training_is_validated(tiny, tmp_path):
    train(configuration(tiny, tmp_path / "run", "valid_freq=1000"))
    assert len([row for row in rows(tmp_path / "run") if row["val/rsum"]]) == 1


def test_a_finished_run_is_not_repeated(tiny, tmp_path, caplog):
    cfg = configuration(tiny, tmp_path / "run", "max_epochs=1")
    first = train(cfg)
    before = (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert train(cfg) == first
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


@pytest.mark.parametrize("stop_at", [3, 10, 12, 17])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(tiny, tmp_path, monkeypatch, stop_at):
    options = ["model.encoder=gru", "ema=0.9", "loss=hinge", "loss.ncon=2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train(configuration(tiny, whole, *options))

    receive = SaveOnSignal.on_train_batch_end

    def signalled(self, trainer, *arguments):
        if trainer.global_step == stop_at:
            signal.raise_signal(signal.SIGTERM)
        receive(self, trainer, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(SaveOnSignal, "on_train_batch_end", signalled)
        with pytest.raises(Interrupted, match=f"SIGTERM.*update {stop_at}"):
            train(configuration(tiny, parts, *options))
    results = train(configuration(tiny, parts, *options))
    assert results["dev"] == expected["dev"]
    assert results["test"] == expected["test"]
    assert rows(parts) == rows(whole)
    for name in ("last.ckpt", "best.ckpt"):
        mine, theirs = (weights(run / "checkpoints" / name) for run in (parts, whole))
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def test_patience_stops(tiny, tmp_path):
    train(configuration(tiny, tmp_path / "run", "lrate=0", "patience=2", "max_epochs=20"))
    validated = [int(row["step"]) for row in rows(tmp_path / "run") if row["val/rsum"]]
    assert validated == [3, 6, 9]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.encoder=rnn", r"Unknown model.encoder=rnn: choose one of bow, gru, lstm"),
        ("model.dim_image=7", r"model.dim_image=7, and the image features have 12"),
        ("resume=nowhere.ckpt", r"No checkpoint nowhere.ckpt"),
        ("data.name=missing", r"No train split of data set 'missing'"),
        ("data.order=sorted", r"Unknown data.order 'sorted'"),
    ],
)
def test_mistakes(tiny, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        train(configuration(tiny, tmp_path / "run", override))


def test_bow_with_another_word_size(tiny, tmp_path):
    with pytest.raises(UserError, match=r"model.dim_word=5 contradicts model.dim=8"):
        train(configuration(tiny, tmp_path / "run", "model.encoder=bow", "model.dim_word=5"))


def test_a_loss_that_is_not_finite_names_the_batch(tiny, tmp_path):
    cfg = configuration(tiny, tmp_path / "run", "lrate=1e38", "grad_clip=null")
    with pytest.raises(UserError, match=r"The loss is nan at epoch \d+, batch \d+ \(captions \["):
        train(cfg)


def test_a_half_checkpoint_is_told(tiny, tmp_path):
    run = tmp_path / "run"
    train(configuration(tiny, run, "max_epochs=1"))
    (run / "results.json").unlink()
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"last.ckpt is no readable checkpoint"):
        train(configuration(tiny, run, "max_epochs=1"))


def test_the_average_of_weights_is_not_trained(tiny, tmp_path):
    run = tmp_path / "run"
    train(configuration(tiny, run, "ema=0.9", "decay_c=0.01", "max_epochs=1"))
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    updated = len(saved["optimizer_states"][0]["state"])
    model = [name for name in saved["state_dict"] if name.startswith(("model.", "loss."))]
    averaged = [name for name in saved["state_dict"] if name.startswith("averaged.module.")]
    assert updated <= len(model)
    assert len(averaged) > 0
