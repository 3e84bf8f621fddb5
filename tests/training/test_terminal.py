"""What a training says, as it is read through a pipe."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import nullcontext

from test_cli import SHORT, call
from vse_exp.alive import spoken
from vse_exp.compat.loading import load_model
from vse_exp.progress import silence
from vse_exp.runs.board import Board
from vse_exp.runs.folder import RunFolder
from vse_exp.train import main as train_main


def test_what_is_trained_and_what_came_of_it(tiny, tmp_path, monkeypatch, capfd):
    from vse_exp.evaluate import main as evaluate_main

    run = tmp_path / "run"
    given = [*SHORT, f"paths.data_dir={tiny}", f"paths.run_dir={run}"]
    assert call(monkeypatch, train_main, *given) == 0
    told = capfd.readouterr()
    opening, validations = told.err.splitlines()[:4], told.err.splitlines()[4:]
    assert opening[0] == f"run: {run}, seed 1"
    assert opening[1].startswith("data: tiny, 12 images of 12, 36 captions, ")
    model = load_model(run / "checkpoints" / "best.ckpt")
    sizes = [sum(p.numel() for p in part.parameters()) for part in model.children()]
    assert opening[2].startswith(f"model: {sum(sizes):,} parameters (")
    told_sizes = re.findall(r"\w+ ([\d,]+)[,)]", opening[2])
    assert told_sizes == [f"{size:,}" for size in sizes if size]
    assert re.match(r"training: about \d+ updates in 1 epochs, on cpu", opening[3])
    best = json.loads((run / "results.json").read_text())["dev"]["rsum"]
    marked = [line for line in validations if line.endswith("*")]
    assert f"rsum {best:.1f}" in marked[-1]
    assert "\r" not in told.err
    assert "\x1b" not in told.err
    # what is said to come next works as it stands
    (command,) = [line for line in told.out.splitlines() if "vse_exp.evaluate" in line]
    assert call(monkeypatch, evaluate_main, *shlex.split(command)[3:]) == 0


def test_the_table_of_a_sweep(tmp_path, capfd):
    for name in ("done", "failed", "begun", "pruned"):
        RunFolder(tmp_path / name).prepare()
    metrics = {"rsum": 300.0}
    results = {"dev": metrics, "test": {"rsum": 290.0}, "seconds": 12.0}
    (tmp_path / "done" / "results.json").write_text(json.dumps(results))
    (tmp_path / "failed" / "failed.txt").write_text("Traceback\nRuntimeError: no")
    (tmp_path / "pruned" / "failed.txt").write_text("pruned by study s")
    (tmp_path / "begun" / "metrics.csv").write_text("step,val/rsum\n10,20\n20,15\n")
    with Board(lambda: {path.name: path for path in sorted(tmp_path.iterdir())}):
        pass
    rows = [line.split() for line in capfd.readouterr().err.splitlines()]
    assert ["begun", "unfinished", "20", "20.0"] in rows
    assert ["done", "finished", "300.0", "290.0", "12", "s"] in rows
    assert ["failed", "failed"] in rows
    assert ["pruned", "pruned"] in rows
    for shown in (False, True):
        with silence() if shown else nullcontext(), Board(lambda: {"a": tmp_path / "done"}, shown):
            pass
        assert capfd.readouterr() == ("", "")


def test_times_are_told_in_the_unit_that_suits_them():
    assert [spoken(seconds) for seconds in (5, 600, 36000)] == ["5 s", "10 min", "10.0 h"]
