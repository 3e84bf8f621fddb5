"""The run folder: what makes a run what it is, and who may write into it."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
from omegaconf import OmegaConf

from vse_exp.cli import user_message
from vse_exp.errors import Interrupted, UserError
from vse_exp.runs.folder import RunFolder, is_watched, run_name


@pytest.mark.parametrize(
    ("override", "watched"),
    [
        ("data.num_workers=4", True),
        ("logger=wandb", True),
        ("+logger.wandb.mode=offline", True),
        ("~logger.wandb", True),
        ("paths.data_dir=x", True),
        ("hydra/launcher=joblib", True),
        ("resume=never", True),
        ("debug=limit", False),
        ("data=f8k", False),
        ("data.name=x", False),
        ("lrate=1e-3", False),
        ("loggers=x", False),
    ],
)
def test_one_list_says_what_makes_no_difference(override, watched):
    """To the name of a run, to going on with it, and to what counts as the same configuration."""
    assert is_watched(override) is watched
    assert (run_name([override]) == "default") is watched


def test_a_run_goes_on_with_other_workers_and_not_with_another_rate(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare()
    folder.last.write_bytes(b"")
    config = OmegaConf.create({"seed": 1, "lrate": 1e-5, "data": {"num_workers": 0, "root": "a"}})
    folder.record(config, [], {})
    folder.check(OmegaConf.merge(config, {"data": {"num_workers": 4, "root": "b"}}))
    with pytest.raises(UserError, match=r"lrate=1e-05 \(now 0.1\)"):
        folder.check(OmegaConf.merge(config, {"lrate": 0.1}))


@pytest.mark.parametrize("content", ["a: &a [x]\nb: [*a, *a]\n", "[" * 100_000])
@pytest.mark.parametrize("name", ["config.yaml", "results.json"])
def test_a_broken_file_is_named(tmp_path, name, content):
    folder = RunFolder(tmp_path)
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / name).write_text(content)
    read = folder.finished if name == "results.json" else partial(folder.check, OmegaConf.create())
    with pytest.raises(UserError, match=name):
        read()


def test_one_process_at_a_time_writes(tmp_path):
    code = (
        "from vse_exp.runs.folder import RunFolder\n"
        f"with RunFolder({str(tmp_path)!r}).hold(str): print('held')"
    )
    with RunFolder(tmp_path).hold(user_message):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is being trained by another process" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout == b"held\n"


@pytest.mark.parametrize(
    ("error", "kept"),
    [(UserError("No data."), "No data."), (KeyError("x"), "KeyError: 'x'"), (Interrupted(), None)],
)
def test_why_a_training_failed_is_kept(tmp_path, error, kept):
    folder = RunFolder(tmp_path)
    with pytest.raises(type(error)), folder.hold(user_message):
        raise error
    assert folder.failed.is_file() is (kept is not None)
    status = ("failed", f"before its first update: {kept}") if kept else ("unfinished",)
    assert folder.state()[: len(status)] == status
