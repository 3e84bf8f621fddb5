"""Whole trainings on a tiny data set, in process."""

from __future__ import annotations

import csv
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from conftest import configuration
from vse_exp.compat.loading import load_model
from vse_exp.errors import Interrupted, UserError
from vse_exp.evaluation.rank_files import read_ranks
from vse_exp.training import fit as training
from vse_exp.training.fit import train
from vse_exp.training.interruption import SaveOnSignal


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
    target = OmegaConf.load(run / "config.yaml").model.encoder._target_
    assert target.rpartition(".")[2] == {"bow": "BagOfWords"}.get(encoder, encoder.upper())
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


def test_each_epochs_end_is_validated_also_after_going_on_there(tiny, tmp_path):
    keys = ["valid_freq=null", "model.encoder.word_dropout=0.5"]
    seen: list[int] = []
    whole = train(configuration(tiny, tmp_path / "whole", *keys), (), lambda n, _: seen.append(n))
    assert seen == [1, 2, 3]
    last = int(rows(tmp_path / "whole")[-1]["step"])
    validated = [int(row["step"]) for row in rows(tmp_path / "whole") if row["val/rsum"]]
    assert validated == [last // 3, last // 3 * 2, last]

    def stop(number: int, _: float) -> None:
        seen.append(number)
        if number == 2:  # what is saved is the first epoch's end
            raise KeyboardInterrupt

    cfg = configuration(tiny, tmp_path / "parts", *keys)
    with pytest.raises(Interrupted):
        train(cfg, (), stop)
    parts = train(cfg, (), lambda n, _: seen.append(n))
    assert seen[3:] == [1, 2, 2, 3]
    assert parts["test"] == whole["test"]
    for name, weight in weights(tmp_path / "whole/checkpoints/last.ckpt").items():
        torch.testing.assert_close(
            weights(tmp_path / "parts/checkpoints/last.ckpt")[name], weight, rtol=0, atol=0
        )


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
        ("resume=nowhere.ckpt", r"No checkpoint nowhere.ckpt"),
        ("data.name=missing", r"No train split of data set 'missing'"),
        ("data.order=sorted", r"Unknown data.order 'sorted'"),
    ],
)
def test_mistakes(tiny, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        train(configuration(tiny, tmp_path / "run", override))


def test_bow_with_another_word_size(tiny, tmp_path):
    asked = ["model.encoder=bow", "+model.encoder.dim_word=5"]
    with pytest.raises(UserError, match=r"Unknown key model\.encoder\.dim_word"):
        train(configuration(tiny, tmp_path / "run", *asked))


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
    with pytest.raises(UserError, match=r"last.ckpt is no readable checkpoint.*resume=never"):
        train(configuration(tiny, run, "max_epochs=1"))


def test_the_average_of_weights_is_not_trained(tiny, tmp_path):
    run = tmp_path / "run"
    train(configuration(tiny, run, "ema=0.9", "decay_c=0.01", "max_epochs=1"))
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    updated = len(saved["optimizer_states"][0]["state"])
    model = {name for name in saved["state_dict"] if name.startswith("model.")}
    learns = [name for name in saved["state_dict"] if name.startswith("loss.")]
    averaged = {name for name in saved["state_dict"] if name.startswith("averaged.module.")}
    assert averaged == {name.replace("model.", "averaged.module.", 1) for name in model}
    assert 0 < updated <= len(model) + len(learns)


def test_ranks_of_the_best_model_lie_in_the_run_folder(tiny, tmp_path):
    results = train(configuration(tiny, tmp_path / "run"))
    for split in ("dev", "test"):
        ranks = read_ranks(tmp_path / "run", split)
        assert 100 * (ranks.search.first < 5).mean() == pytest.approx(results[split]["sR@5"])
        assert 100 * (ranks.annotation.first < 1).mean() == pytest.approx(results[split]["aR@1"])


def test_a_folder_with_other_settings_is_refused(tiny, tmp_path):
    run = tmp_path / "run"
    train(configuration(tiny, run, "max_epochs=1"))
    watched = configuration(tiny, run, "max_epochs=1", "disp_freq=7")
    assert train(watched)["test"]["rsum"] > 0  # finished already
    with pytest.raises(UserError, match=r"holds a run with .*max_epochs=1 \(now 2\)"):
        train(configuration(tiny, run, "max_epochs=2"))
    train(configuration(tiny, run, "max_epochs=2", "resume=never"))


def test_seconds_and_memory_are_those_of_the_whole_run(tiny, tmp_path):
    run = tmp_path / "run"
    first = train(configuration(tiny, run, "max_epochs=1"))
    assert first["peak_memory_mb"] > 10
    (run / "results.json").unlink()
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    last["callbacks"]["RetrievalValidation"]["seconds"] += 1000
    torch.save(last, run / "checkpoints" / "last.ckpt")
    assert train(configuration(tiny, run, "max_epochs=1"))["seconds"] > 1000


def test_a_signal_after_the_last_update_ends_nothing(tiny, tmp_path, monkeypatch):
    final = training._final_results

    def signalled(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return final(*arguments)

    monkeypatch.setattr(training, "_final_results", signalled)
    before = signal.getsignal(signal.SIGUSR1)
    train(configuration(tiny, tmp_path / "run", "max_epochs=1"))
    assert (tmp_path / "run" / "results.json").is_file()
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_launchers_handler_is_called_after_saving(tiny, tmp_path, monkeypatch):
    """submitit's puts the job back into the queue; one that returns lets the training go on."""
    last, saved = tmp_path / "run" / "checkpoints" / "last.ckpt", []

    def launcher(number: int, frame: Any) -> None:
        saved.append((number, torch.load(last, weights_only=True)["global_step"]))

    before = signal.signal(signal.SIGUSR2, launcher)
    receive = SaveOnSignal.on_train_batch_end

    def signalled(self, trainer, *arguments):
        if trainer.global_step == 4:
            signal.raise_signal(signal.SIGUSR2)
        receive(self, trainer, *arguments)

    monkeypatch.setattr(SaveOnSignal, "on_train_batch_end", signalled)
    try:
        train(configuration(tiny, tmp_path / "run", "max_epochs=1"))
    finally:
        assert signal.signal(signal.SIGUSR2, before) == launcher
    assert saved == [(signal.SIGUSR2, 4)]
    assert (tmp_path / "run" / "results.json").is_file()


def test_a_full_disk_leaves_the_last_checkpoint(tiny, tmp_path):
    """A limit on the size of files stands for the full disk."""
    run = tmp_path / "run"
    train(configuration(tiny, run, "max_epochs=1"))
    (run / "results.json").unlink()
    last = run / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*\.ckpt"):
            train(configuration(tiny, run, "max_epochs=1", "resume=never"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert last.read_bytes() == before
    assert sorted(path.name for path in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert load_model(last).encode_sentences(["a dog"]).shape == (1, 8)


def test_a_folder_that_cannot_be_made(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot make the run folder .*file/run: Not a directory"):
        train(configuration(tiny, tmp_path / "file" / "run"))


def test_an_average_of_weights_is_what_loads(tiny, tmp_path):
    run = tmp_path / "run"
    train(configuration(tiny, run, "ema=0.9", "max_epochs=1"))
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    loaded = load_model(run / "checkpoints" / "last.ckpt").state_dict()
    name = next(iter(loaded))
    torch.testing.assert_close(loaded[name], saved[f"averaged.module.{name}"], rtol=0, atol=0)
