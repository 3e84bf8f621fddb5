"""`quiet=true`: nothing is said, files are as ever; what took long is told otherwise."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from vse_exp.cli import entry
from vse_exp.embed import main as embed_main
from vse_exp.train import main as train_main


def test_a_quiet_training_writes_its_files_and_says_nothing(tiny: Path, tmp_path, capfd) -> None:
    run = tmp_path / "run"
    arguments = ["data=custom", "data.name=tiny", f"paths.data_dir={tiny}",
                 "model.dim=8", "data.batch_size=8", "max_epochs=1", "progress=true",
                 "quiet=true", f"paths.run_dir={run}"]  # fmt: skip
    train_main(arguments)
    told = capfd.readouterr()
    assert told.out == ""
    assert "run:" not in told.err
    assert "run:" in (run / "train.log").read_text()
    assert (run / "results.json").is_file()
    (tmp_path / "sentences.txt").write_text("a dog\n")
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    sentences = f"captions={tmp_path}/sentences.txt"
    embed_main([checkpoint, sentences, f"output={tmp_path}/rows.npy", "quiet=true"])
    told = capfd.readouterr()
    assert told == ("", "")
    assert (tmp_path / "rows.npy").is_file()
    with pytest.raises(SystemExit):
        embed_main([checkpoint, sentences, f"output={tmp_path}/none/rows.npy", "quiet=no!"])
    assert capfd.readouterr().err.startswith("error: quiet=")
    assert all(one.level == logging.NOTSET for one in logging.getLogger("vse_exp").handlers)


def test_what_took_long_is_told(tiny: Path, tmp_path, capfd, monkeypatch) -> None:
    monkeypatch.setattr(entry, "WORTH_TELLING", 0.0)
    train_main(["data=custom", "data.name=tiny", f"paths.data_dir={tiny}",
                "model.dim=8", "data.batch_size=8", "max_epochs=1",
                f"paths.run_dir={tmp_path / 'run'}"])  # fmt: skip
    assert "Took " in capfd.readouterr().err.splitlines()[-1]
