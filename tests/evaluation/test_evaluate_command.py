"""`python -m vse_exp.evaluate` with judgements, relevance, order, choices and further metrics."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vse_exp import evaluate, train

SHORT = ["data=custom", "data.name=tiny", "data.batch_size=8", "model.dim=8", "max_epochs=1",
         "valid_freq=4", "progress=false"]  # fmt: skip


@pytest.fixture
def command(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Evaluates a short training with further keys; the exit status."""

    def call(main: Callable[[], None], *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["vse_exp", *arguments, f"paths.data_dir={tiny}"])
        try:
            main()
        except SystemExit as exit_:
            return int(exit_.code or 0)
        return 0

    run = tmp_path / "run"
    assert call(train.main, *SHORT, f"paths.run_dir={run}") == 0
    best = run / "checkpoints" / "best.ckpt"
    return lambda *more: call(
        evaluate.main, f"checkpoint={best}", "data=custom", "data.name=tiny", *more
    )


def test_everything_at_once(command: Callable[..., int], tiny: Path, tmp_path: Path) -> None:
    output, names = tmp_path / "out.json", [str(row) for row in range(12)]
    expert, qrels, choices = (tmp_path / f"{name}" for name in ("e.txt", "q.qrels", "c.jsonl"))
    pairs = [(a, b) for a in names for b in names if a != b]
    expert.write_text("".join(f"{a}\t{b}#0\t1\t{1 + int(b) % 3}\t2\n" for a, b in pairs))
    qrels.write_text("0 0 1#0 2\n")
    question = {"image": "3", "caption": "a red circle", "wrong": ["a blue square"]}
    choices.write_text(json.dumps(question) + "\n")
    asked = [f"judgements={expert}", f"relevance={qrels}", f"choices={choices}", "order=true"]
    assert command(*asked, "metrics=all", f"output={output}") == 0
    found = json.loads(output.read_text())
    assert found["protocol"].endswith("full gallery, right answers of q.qrels too")
    assert -100 <= found["expert"]["expert_tau_c"] <= 100
    assert found["order"]["words"]["ties"] == 100  # the default encoder is a bag of words
    assert found["choices"]["choices"]["n"] == 1
    assert found["aMRR"] >= found["aR@1"]
    assert {"snDCG@10", "amAP@R", "aR_corrected@5"} <= found["intervals"].keys()
    assert command(*asked, f"output={output.with_suffix('.csv')}") == 0
    (row,) = csv.DictReader(output.with_suffix(".csv").read_text().splitlines())
    assert float(row["expert_tau_c"]) == found["expert"]["expert_tau_c"]
    assert float(row["order_words_ties"]) == 100
    # a split's own questions are asked unasked
    beside = next(tiny.rglob("*_test_caps.txt"))
    choices.rename(str(beside).replace("_caps.txt", "_choices.jsonl"))
    assert command(f"output={output}") == 0
    assert json.loads(output.read_text())["choices"]["choices"]["n"] == 1


def test_a_metric_named_by_its_class_and_a_published_protocol(
    command: Callable[..., int], tmp_path: Path
) -> None:
    output = tmp_path / "out.json"
    node = "{_target_: vse_exp.evaluation.metrics.NDCG, k: 7}"
    assert command(f"metrics=[{node}]", f"output={output}") == 0
    assert "anDCG@7" in json.loads(output.read_text())["intervals"]
    assert command("protocol=mteb", f"output={output}") == 0
    assert "snDCG@10" in json.loads(output.read_text())
    assert command("protocol=clip_benchmark", f"output={output}") == 0
    assert "aMedr" not in json.loads(output.read_text())


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("protocol=karpathy", "protocol=karpathy is of 1,000 images"),
        ("metrics=some", "metrics=some must be 'standard' or 'all'"),
        ("judgements=none.txt", "Cannot read none.txt"),
        ("metrics=[{_target_: vse_exp.evaluation.metrics.NDCG, q: 7}]", "Unknown key metrics.q"),
    ],
)
def test_mistakes(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], key: str, words: str
) -> None:
    capsys.readouterr()
    assert command(key) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")

    assert re.search(words, error), error
