"""Lightning's callbacks, schedules and trainer options work as its own documentation says."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import lightning.pytorch as pl
import pytest
import torch

from conftest import configuration
from vse_exp.errors import UserError
from vse_exp.training.fit import train

LIGHTNING = "lightning.pytorch.callbacks"


class Witness(pl.Callback):
    """Notes which hooks were called, and what callbacks can see of a validation."""

    calls: ClassVar[Counter[str]] = Counter()
    seen: ClassVar[list[tuple[int, float, bool]]] = []

    def on_validation_start(self, *_: Any) -> None:
        self.calls["start"] += 1

    def on_validation_epoch_start(self, *_: Any) -> None:
        self.calls["epoch_start"] += 1

    def on_validation_batch_start(self, *_: Any, **__: Any) -> None:
        self.calls["batch_start"] += 1

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self.calls["batch_end"] += 1

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.calls["epoch_end"] += 1
        pl_module.log("mine/half", 0.5)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.calls["end"] += 1
        rsum = float(trainer.callback_metrics["val/rsum"])
        self.seen.append((trainer.global_step, rsum, pl_module.training))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        assert pl_module.training
        assert trainer.training
        pl_module.log("mine/step", float(trainer.global_step), on_step=False, on_epoch=True,
                      batch_size=1)  # fmt: skip


def callback(name: str, target: str, **keys: Any) -> list[str]:
    start = f"+callbacks.{name}"
    return [
        f"{start}._target_={target}",
        *(f"{start}.{key}={value}" for key, value in keys.items()),
    ]


def validations(folder) -> dict[int, float]:
    import csv

    with open(folder / "metrics.csv", newline="") as file:
        rows = csv.DictReader(file)
        return {int(row["step"]): float(row["val/rsum"]) for row in rows if row["val/rsum"]}


def test_validation_hooks_fire_and_see_rsum(tiny, tmp_path):
    Witness.calls, Witness.seen = Counter(), []
    own = callback("mine", f"{__name__}.Witness")
    results = train(configuration(tiny, tmp_path / "run", *own))
    found = validations(tmp_path / "run")
    assert [step for step, *_ in Witness.seen] == list(found)
    assert len(found) > 3
    for step, rsum, training in Witness.seen:
        assert rsum == pytest.approx(found[step])
        assert not training
    times = len(found)
    calls = Witness.calls
    assert calls["batch_start"] == calls["batch_end"] > times
    assert {calls[name] for name in ("start", "epoch_start", "epoch_end", "end")} == {times}
    assert results["dev"]["rsum"] == max(found.values())
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"mine/half", "mine/step"} <= set(header)


def test_early_stopping(tiny, tmp_path):
    own = callback("stop", f"{LIGHTNING}.EarlyStopping", monitor="val/rsum", mode="max", patience=2)
    train(configuration(tiny, tmp_path / "run", "lrate=0", "max_epochs=20", *own))
    assert list(validations(tmp_path / "run")) == [3, 6, 9]


@pytest.mark.filterwarnings("ignore:Be aware that when using")
def test_model_checkpoint_and_going_on_from_one(tiny, tmp_path):
    """A checkpoint that Lightning saves at a validation is one to go on from exactly, too."""
    kept, options = tmp_path / "kept", ["ema=0.9", "model.encoder=gru"]
    own = callback("keep", f"{LIGHTNING}.ModelCheckpoint", monitor="val/rsum", mode="max",
                   save_top_k=-1, dirpath=kept, filename="'at{step}'",
                   auto_insert_metric_name=False)  # fmt: skip
    train(configuration(tiny, tmp_path / "run", *options, *own))
    steps = list(validations(tmp_path / "run"))
    assert {path.name for path in kept.iterdir()} == {f"at{step}.ckpt" for step in steps}
    expected = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    for step in steps[:-1]:
        run = tmp_path / f"from{step}"
        (run / "checkpoints").mkdir(parents=True)
        best = tmp_path / "run" / "checkpoints" / "best.ckpt"
        (run / "checkpoints" / "best.ckpt").write_bytes(best.read_bytes())
        train(configuration(tiny, run, *options, f"resume={kept}/at{step}.ckpt"))
        found = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        for key, value in expected["state_dict"].items():
            assert torch.equal(found["state_dict"][key], value), (step, key)
        assert list(validations(run)) == [one for one in steps if one > step]


def test_learning_rate_monitor(tiny, tmp_path):
    own = callback("rate", f"{LIGHTNING}.LearningRateMonitor", logging_interval="step")
    train(configuration(tiny, tmp_path / "run", "+trainer.log_every_n_steps=1", *own))
    assert "lr-AdamW" in (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]


def rates(tiny, run, *schedule: str) -> list[float]:
    """The learning rate after each update."""
    import csv

    train(configuration(tiny, run, "disp_freq=1", "lrate=1.0", "optimizer=sgd", "max_epochs=2",
                        "~scheduler", *schedule))  # fmt: skip
    with open(run / "metrics.csv", newline="") as file:
        return [float(row["train/lr"]) for row in csv.DictReader(file) if row["train/lr"]]


def own_schedule(optimizer, half):
    """One of one's own, without total_steps."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: half**step)


@pytest.mark.parametrize(
    ("target", "keys", "expected"),
    [
        ("torch.optim.lr_scheduler.StepLR", {"step_size": 2, "gamma": 0.5}, [1, 0.5, 0.5, 0.25]),
        (f"{__name__}.own_schedule", {"half": 0.5}, [0.5, 0.25, 0.125, 0.0625]),
        ("torch.optim.lr_scheduler.ReduceLROnPlateau",
         {"mode": "max", "patience": 0, "factor": 0.1, "threshold": 1e9}, [1] * 6 + [0.1] * 3),
    ],
)  # fmt: skip
def test_schedules_of_others(tiny, tmp_path, target, keys, expected):
    options = [f"+scheduler.{key}={value}" for key, value in keys.items()]
    schedule = [f"+scheduler._target_={target}", "+scheduler._partial_=true", *options]
    found = rates(tiny, tmp_path / "run", *schedule)
    assert found[: len(expected)] == pytest.approx(expected)


def test_one_cycle_over_all_updates(tiny, tmp_path):
    target = "torch.optim.lr_scheduler.OneCycleLR"
    found = rates(tiny, tmp_path / "run", f"+scheduler._target_={target}", "+scheduler.max_lr=1.0",
                  "+scheduler._partial_=true", "+scheduler.pct_start=0.5")  # fmt: skip
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], 1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=len(found), pct_start=0.5
    )
    expected = []
    for _ in found:
        optimizer.step()
        scheduler.step()
        expected.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx(expected)


def test_a_plateau_of_the_wrong_kind(tiny, tmp_path):
    target = "torch.optim.lr_scheduler.ReduceLROnPlateau"
    with pytest.raises(UserError, match=r"scheduler.mode must be max"):
        rates(tiny, tmp_path, f"+scheduler._target_={target}", "+scheduler._partial_=true")


def test_strategy_and_plugins_by_target(tiny, tmp_path):
    options = ["trainer.accelerator=cpu",
               "+trainer.strategy._target_=lightning.pytorch.strategies.DDPStrategy",
               "+trainer.strategy.find_unused_parameters=true",
               "+trainer.plugins=[{_target_: lightning.pytorch.plugins.MixedPrecision, "
               "precision: bf16-mixed, device: cpu}]", "~trainer.precision"]  # fmt: skip
    assert train(configuration(tiny, tmp_path / "run", "max_epochs=1", *options))["dev"]


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "bf16-mixed", "64-true"])
def test_precisions(tiny, tmp_path, precision):
    options = ["model.encoder=gru", f"trainer.precision={precision}", "max_epochs=1"]
    options += ["optimizer=sgd"]  # Adam's eps is 0 in float16
    assert train(configuration(tiny, tmp_path / "run", *options))["test"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+trainer.fast_dev_run=true", "debug=limit"),
        ("+trainer.limit_val_batches=2", "whole split"),
        ("+trainer.val_check_interval=2", "valid_freq"),
        ("+trainer.gradient_clip_val=2", "grad_clip"),
        ("+trainer.strategy=fsdp", r"trainer.*(FSDP|fsdp|splits the model)"),
        ("trainer.devices=4096", "many more processes than this machine has cores"),
        ("max_epochs=null", "train for ever"),
        ("max_epochs=-1", "train for ever"),
        ("max_epochs=0", "at least one update"),
        ("trainer.max_steps=0", "at least one update"),
        ("trainer.precision=7", "trainer.precision=7 must be 64"),
    ],
)
def test_refusals(tiny, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        train(configuration(tiny, tmp_path / "run", override))


def test_fewer_updates_than_between_validations(tiny, tmp_path):
    """One validation at least, so that there are results."""
    results = train(configuration(tiny, tmp_path, "valid_freq=1000", "valid_at_end=false"))
    assert set(results["dev"]) >= {"aR@1", "rsum", "protocol"}
    assert len(validations(tmp_path)) == 1


def test_the_best_model_is_gone_when_a_run_goes_on(tiny, tmp_path, caplog):
    train(configuration(tiny, tmp_path, "max_epochs=1"))
    (tmp_path / "results.json").unlink()
    (tmp_path / "checkpoints" / "best.ckpt").unlink()
    results = train(configuration(tiny, tmp_path, "max_epochs=1"))
    assert "best.ckpt is gone" in caplog.text
    model = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert model["extra"]["dev"]["rsum"] == results["dev"]["rsum"]
