"""A training that collapses is told, and ended where asked."""

from __future__ import annotations

import logging

import torch

from conftest import configuration
from vse_exp.errors import Interrupted
from vse_exp.training import building
from vse_exp.training import fit as training
from vse_exp.training.fit import train

# a rate so high that everything lands in one point at once
COLLAPSING = (
    "loss=hardest_hinge",
    "loss.warmup_epochs=null",
    "loss.margin=0.01",
    "callbacks=collapse",
    "callbacks.collapse.patience=4",
    "max_epochs=4",
    "model.encoder=gru",
)


def build_collapsed(*arguments, **options):
    """A model whose embeddings are all in one point, where they stay."""
    model = original(*arguments, **options)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(model.image_encoder.projection.bias)
    torch.nn.init.constant_(model.sentence_encoder.embedding.weight, 0.3)
    return model


original = building.build_model


def updates(folder) -> int:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)["global_step"]


def test_it_is_said_once_and_training_goes_on(tiny, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(building, "build_model", build_collapsed)
    with caplog.at_level(logging.WARNING, "vse_exp"):
        train(configuration(tiny, tmp_path / "run", *COLLAPSING, "lrate=0.0"))
    said = [record.message for record in caplog.records if "2 x margin" in record.message]
    assert len(said) == 1
    assert "0.020) for 4 updates" in said[0]
    assert updates(tmp_path / "run") > 8


def test_it_stops_also_a_resumed_run(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "build_model", build_collapsed)
    run = tmp_path / "run"
    stopping = (*COLLAPSING, "lrate=0.0", "callbacks.collapse.stop=true")
    train(configuration(tiny, run, *stopping, "callbacks.collapse.patience=7"))
    assert updates(run) == 7
    # the updates before the interruption count
    short = tmp_path / "short"
    cfg = configuration(tiny, short, *stopping, "callbacks.collapse.patience=7")
    monkeypatch.setattr(training, "_final_results", interrupt)
    cfg.trainer.max_steps = 3
    for steps in (3, -1):
        cfg.trainer.max_steps = steps
        if steps == -1:
            monkeypatch.undo()
            monkeypatch.setattr(building, "build_model", build_collapsed)
            cfg.resume = str(short / "checkpoints" / "last.ckpt")
        try:
            train(cfg)
        except Interrupted:
            continue
    assert updates(short) == 7


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_the_schedule_does_not_collapse(tiny, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "vse_exp"):
        train(configuration(tiny, tmp_path / "run", *COLLAPSING, "loss.warmup_epochs=100"))
    assert "2 x margin" not in caplog.text


def test_other_losses_are_not_watched(tiny, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "vse_exp"):
        train(configuration(tiny, tmp_path / "run", "callbacks=collapse", "max_epochs=1"))
    assert "watches no other loss" in caplog.text
