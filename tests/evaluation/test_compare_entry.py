"""`python -m vse_exp.compare` on two files of ranks."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from forks import forked_python
from vse_exp.evaluation.metrics import EVERY
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.rank_files import write_ranks


def test_two_runs(tmp_path: Path) -> None:
    mapping = np.arange(100) // 5
    for name, step in (("a", 7), ("b", 2)):
        np.savez(
            tmp_path / f"{name}.npz",
            annotation_ranks=np.arange(20) * step,
            search_ranks=np.arange(100) * step // 5,
            caption_image=mapping,
            protocol=np.array("tiny test"),
        )
    output = tmp_path / "compared.json"
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    command = [forked_python(), "-m", "vse_exp.compare", f"a={a}", f"b={b}", f"output={output}"]
    done = subprocess.run([*command, "resamples=50"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert re.fullmatch(r"(compare: .* …\n)*(Took \d+ s\.\n)?", done.stderr)
    assert "tiny test" in done.stdout
    assert "aR@1" in done.stdout
    written = json.loads(output.read_text())
    assert written["figures"]["aMeanr"]["a"] == 1 + 9.5 * 7
    assert written["figures"]["aMeanr"]["difference"] == -9.5 * 5
    # 19 of 20 images differ, all one way: no exchange by chance gives as large a difference
    assert written["figures"]["aMeanr"]["p"] == pytest.approx(1 / 51)
    # two images differ, both one way: half of all exchanges leave as large a difference
    recall = written["figures"]["aR@5"]
    assert (recall["a"], recall["b"], recall["difference"]) == (5, 15, 10)
    assert 0.25 < recall["p"] < 0.75
    assert recall["low"] <= 10 <= recall["high"]
    assert written["a"]["ranks"] == str(a)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_ranks_of_all_right_answers_are_compared_by_all_metrics(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images, mapping = random.standard_normal((60, 4)), np.arange(180) // 3
    for name, noise in (("a", 2.0), ("b", 0.5)):
        captions = images[mapping] + noise * random.standard_normal((180, 4))
        write_ranks(
            tmp_path / f"{name}.npz", evaluate_embeddings(images, captions, mapping, metrics=EVERY)
        )
    output = tmp_path / "compared.json"
    keys = [f"a={tmp_path / 'a.npz'}", f"b={tmp_path / 'b.npz'}", f"output={output}"]
    command = [forked_python(), "-m", "vse_exp.compare", *keys, "resamples=50"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert re.fullmatch(r"(compare: .* …\n)*(Took \d+ s\.\n)?", done.stderr)
    figures = json.loads(output.read_text())["figures"]
    assert figures["amAP"]["difference"] > 0
    assert figures["amAP"]["p"] < 0.05
