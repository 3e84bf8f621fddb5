"""The programs that measure speed still run; their figures are not looked at."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import QUICK
from benchmarks.captions import main as captions_alone
from benchmarks.cca import canonical
from benchmarks.cca import main as closed_form
from benchmarks.gpu import main as on_a_gpu
from benchmarks.loop import main as the_loop

from forks import forked_python
from vse_exp.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for memory")


def run(tmp_path: Path, *arguments: str) -> list[dict[str, str]]:
    """Rows of the CSV."""
    path = tmp_path / "figures.csv"
    command = [forked_python(), "-m", "benchmarks", "--quick", "--threads", "1", "--csv", str(path)]
    # not Flickr8k, where it lies: random captions do
    environment = os.environ | {"VSE_DATA_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command += arguments
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@LINUX
def test_programs_write_one_table(tmp_path: Path) -> None:
    rows = run(tmp_path, "--only", "encoders", "search")
    assert {row["benchmark"] for row in rows} == {"encoders", "search"}
    for row in rows:
        assert row["machine"]
        assert row["unit"]
        assert float(row["ours"]) > 0
        assert float(row["reference"]) > 0


@LINUX
@pytest.mark.slow
def test_all_programs_run(tmp_path: Path) -> None:
    assert len({row["benchmark"] for row in run(tmp_path)}) == 9


def test_the_loop_is_measured(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("VSE_DATA_DIR", str(tmp_path))
    rows = the_loop(QUICK["loop"].split())
    (row,) = rows
    assert (row["benchmark"], row["case"]) == ("loop", "loop bow, adamw, 16-d images")
    assert row["ratio"] == row["ours"] / row["reference"] > 0


def test_ratios_of_a_gpu_are_measured_where_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("VSE_DATA_DIR", str(tmp_path))
    rows = on_a_gpu(["--device", "cpu", "--quick", "--csv", str(tmp_path / "gpu.csv")])
    assert {row["benchmark"] for row in rows} == {"step", "loader", "ranks", "extract"}
    for row in rows:
        assert row["ratio"] == pytest.approx(row["reference"] / row["ours"])
        assert row["ours"] > 0
    assert len((tmp_path / "gpu.csv").read_text().splitlines()) == len(rows) + 1


def test_where_there_is_no_gpu_its_ratios_are_refused(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(UserError, match="No GPU is here"):
        on_a_gpu([])


def test_canonical_correlations_are_those_of_the_spaces() -> None:
    """Without a ridge they are the cosines between the spans of both sides' centred values, which
    the singular values of their orthonormal bases give (Björck and Golub 1973)."""
    rng = np.random.default_rng(1)
    images = rng.standard_normal((200, 5))
    captions = np.concatenate([images[:, :2] @ rng.standard_normal((2, 2)),
                               rng.standard_normal((200, 2))], 1)  # fmt: skip
    found = canonical(images, captions, 1e-12, 1e-12)
    bases = [np.linalg.qr(rows - rows.mean(0))[0] for rows in (images, captions)]
    expected = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    np.testing.assert_allclose(found.correlations, expected, atol=1e-6)
    np.testing.assert_allclose(found.correlations[:2], 1, atol=1e-6)
    first = (images - found.means[0]) @ found.images
    second = (captions - found.means[1]) @ found.captions
    np.testing.assert_allclose((first * second).mean(0), expected, atol=1e-6)
    np.testing.assert_allclose((first**2).mean(0), 1, atol=1e-6)


def test_the_closed_form_finds_pairs(tmp_path: Path) -> None:
    words = [f"thing{number}" for number in range(40)]
    folder = tmp_path / "small"
    folder.mkdir()
    rng = np.random.default_rng(0)
    shown = rng.standard_normal((40, 24)).astype(np.float32)
    for split, count in (("train", 300), ("dev", 50), ("test", 50)):
        seen = rng.integers(0, 40, (count, 3))
        rows = shown[seen].sum(1) + 0.1 * rng.standard_normal((count, 24)).astype(np.float32)
        np.save(folder / f"small_{split}_ims.npy", rows / np.linalg.norm(rows, axis=1)[:, None])
        captions = (" ".join(words[one] for one in each) for each in seen)
        (folder / f"small_{split}_caps.txt").write_text("".join(f"{line}\n" for line in captions))
    rows = closed_form(["--data", "small", "--root", str(tmp_path), "--image-ridge", "0.01"])
    assert [row["split"] for row in rows] == ["dev", "test"]
    assert min(row["rsum"] for row in rows) > 300  # by chance 64


def test_captions_alone(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    # of a's captions two share a word, one has a word of b's; b's two are alike
    lines = ["red dog", "dog here", "blue", "blue car", "car blue"]
    for split in ("train", "test"):
        (folder / f"small_{split}_caps.txt").write_text("".join(f"{line}\n" for line in lines))
        names = [f"{image}.jpg\n" for image in "aaabb"]
        (folder / f"small_{split}_images.txt").write_text("".join(names))
    found = captions_alone(["--data", "small", "--root", str(tmp_path)])
    # "blue" finds b first, the others their own
    assert found == pytest.approx({"R@1": 80, "R@5": 100, "R@10": 100, "sum": 280, "words": 1.8})
