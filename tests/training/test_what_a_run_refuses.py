"""What a training cannot do it says before its first update, and what it cannot go on from too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import configuration, random_captions, random_features
from vse_exp.errors import Interrupted, UserError
from vse_exp.training import fit
from vse_exp.training.fit import train


def features(data: Path, split: str) -> Path:
    return data / "tiny" / f"tiny_{split}_ims.npy"


@pytest.mark.parametrize("split", ["dev", "test"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "ims.npy"),
        (random_features(12) * np.float32(np.inf), "NaN|infinite|finite|Inf"),
        (
            random_features(12, dim=7),
            r"{split}_ims.npy has rows of shape .7,",
        ),
    ],
)
def test_splits_are_checked_before_the_first_update(tiny, tmp_path, split, content, message):
    file = features(tiny, split)
    file.unlink() if content is None else np.save(file, content)
    with pytest.raises(UserError, match=message.format(split=split)):
        train(configuration(tiny, tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.csv").exists()


def new_captions(data: Path) -> None:
    text = "\n".join(random_captions(36, seed=9)) + "\n"
    (data / "tiny" / "tiny_test_caps.txt").write_text(text)


def new_features(data: Path) -> None:
    np.save(features(data, "train"), random_features(12, seed=9))


@pytest.mark.parametrize(
    ("change", "part"),
    [(new_captions, "captions of the test"), (new_features, "image features of the train")],
)
def test_a_finished_run_does_not_hide_changed_data(tiny, tmp_path, change, part):
    run = tmp_path / "run"
    results = train(configuration(tiny, run, "max_epochs=1"))
    moved = tiny.rename(tmp_path / "elsewhere")
    assert train(configuration(moved, run, "max_epochs=1")) == results
    change(moved)
    with pytest.raises(UserError, match=f"other {part} split.*resume=never"):
        train(configuration(moved, run, "max_epochs=1"))
    assert train(configuration(moved, run, "max_epochs=1", "resume=never")) != results


def test_a_logger_added_to_a_finished_run_is_told(tiny, tmp_path, caplog):
    train(configuration(tiny, tmp_path, "max_epochs=1"))
    train(configuration(tiny, tmp_path, "max_epochs=1", "logger=tensorboard"))
    assert "logger=tensorboard gets nothing" in caplog.text


@pytest.mark.parametrize("key", ["global_step", "optimizer_states", "lr_schedulers"])
def test_a_checkpoint_without_what_a_training_needs(tiny, tmp_path, key):
    train(configuration(tiny, tmp_path, "max_epochs=1"))
    (tmp_path / "results.json").unlink()
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    del content[key]
    torch.save(content, last)
    with pytest.raises(UserError, match=rf"last.ckpt has no {key}.*resume=never"):
        train(configuration(tiny, tmp_path, "max_epochs=1"))


def test_another_number_of_processes(tiny, tmp_path):
    train(configuration(tiny, tmp_path, "max_epochs=1"))
    (tmp_path / "results.json").unlink()
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    content["RetrievalDataModule"]["train"]["processes"] = 2
    torch.save(content, last)
    with pytest.raises(UserError, match=r"trained by 2 processes and would go on with 1"):
        train(configuration(tiny, tmp_path, "max_epochs=1"))


@pytest.mark.parametrize("moment", ["build_parts", "build_trainer", "_final_results"])
def test_ctrl_c_outside_the_loop(tiny, tmp_path, monkeypatch, moment):
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, moment, pressed)
    with pytest.raises(Interrupted, match="the same command goes on"):
        train(configuration(tiny, tmp_path / "run"))


def test_a_short_training_is_told(tiny, tmp_path, caplog):
    train(configuration(tiny, tmp_path, "data.batch_size=36", "max_epochs=2"))
    assert "so few updates teach little" in caplog.text


def test_what_a_kill_left_half_written_goes(tiny, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    half = [tmp_path / "checkpoints" / ".last.ab_cd123.ckpt", tmp_path / ".results.abcdefgh.json"]
    for file in half:
        file.write_text("")
    train(configuration(tiny, tmp_path, "max_epochs=1"))
    assert not any(file.exists() for file in half)


def test_a_checkpoint_of_another_model(tiny, tmp_path):
    """In one sentence: what the file was trained with, and what the command says."""
    made = ["model.encoder=gru", "max_epochs=1"]
    train(configuration(tiny, tmp_path / "run", *made))
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    words = r"model\.sentence_encoder\S+weight=\(\d+, \d+\) \(now \(\d+, \d+\)\)"
    for override, message in {
        "model.encoder=bow": r"model\.encoder\._target_=\S+GRU \(now \S+BagOfWords\)",
        "model.dim=7": r"model\.dim=8 \(now 7\)",
        "ema=0.9": r"ema=null \(now a number\)",
        "data.vocabulary.min_count=20": words,
        "optimizer=sgd": "an optimizer that has no dampening, momentum",
        "decay_weights_only=true": r"weights that learn=\d+ \(now \d+ \+ \d+\)",
    }.items():
        cfg = configuration(tiny, tmp_path / "new", *made, override, f"resume={last}")
        with pytest.raises(UserError, match=f"^{last} was trained with {message}.*: give"):
            train(cfg)
    loose = configuration(tiny, tmp_path / "loose", *made, "optimizer=adam", f"resume={last}")
    figures = pd.read_csv(tmp_path / "run" / "metrics.csv")["val/rsum"].dropna()
    assert train(loose)["dev"]["rsum"] == pytest.approx(figures.iloc[-1])  # of the last weights
