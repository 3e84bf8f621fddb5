"""Exact ranks beside the argsort loops of the original and of VSE++, and beside the hardware.

    python -m benchmarks.evaluation            # 1,000 x 5,000 and a tenth of 5,000 x 25,000's loop
    python -m benchmarks.evaluation --whole    # the whole loop at 5,000 x 25,000 too
    python -m benchmarks.evaluation --large    # 100,000 x 500,000: minutes to hours

Two reference loops: rows in float32, as the original keeps them, and in float64, as VSE++ does.
Times are wall seconds; with `--threads 1` they are CPU seconds, which other work on the machine
changes little. Rows are as random as embeddings that find about a fifth of their images first;
`untrained` ones find nothing, the worst case for exactness: more pairs lie within rounding.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vse_exp.evaluation.blocks import ON_CPU
from vse_exp.evaluation.ranks import retrieval_ranks

CAPTIONS = 5
NOISE = 10.0
"""Of captions around their image: about a fifth of a thousand images are found first."""


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 5000], help="images")
    parser.add_argument("--whole", action="store_true", help="all queries of the reference loop")
    parser.add_argument(
        "--large", type=int, nargs="?", const=100_000, help="only this many images, no loop"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.memory_of:
        print(json.dumps(_extra_memory(options.memory_of, options.dim)))
        return []
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    rows: list[dict[str, Any]] = []

    def report(case: str, ours: float, reference: float, ratio: float, unit: str, notes: str):
        row = {"benchmark": "evaluation", "case": case, "ours": ours, "reference": reference}
        unit = {"s": "CPU s" if options.threads == 1 else "s"}.get(unit, unit)
        rows.append(row | {"ratio": ratio, "unit": unit, "notes": notes})
        print(f"{case:48} {ours:10.4g} {reference:10.4g} {ratio:8.3g}  {unit:5} {notes}")

    print(f"{'case':48} {'ours':>10} {'reference':>10} {'ratio':>8}")
    if options.large:
        _large(report, clock, options.large, options.dim)
        return rows
    for n_images in options.sizes:
        _beside_the_loop(report, clock, n_images, options.dim, options.whole)
        _memory(report, n_images, options.dim)
    return rows


def embeddings(n_images: int, dim: int, noise: float = NOISE) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows of images and of five captions each; captions alone hold as much memory again."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(n_images, dim, generator=random)
    images /= images.norm(dim=1, keepdim=True)
    captions = torch.empty(CAPTIONS * n_images, dim)
    for start in range(0, len(captions), 10_000):
        part = captions[start : start + 10_000]
        torch.randn(part.shape, generator=random, out=part)
        part *= noise / dim**0.5
        part += images[torch.arange(start, start + len(part)) // CAPTIONS]
        part /= part.norm(dim=1, keepdim=True)
    return images, captions


def argsort_loop(
    images: torch.Tensor, captions: torch.Tensor, step: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks a query at a time by sorting its scores, as the original and VSE++ find them.

    Of every `step`-th image and its captions. The products are by torch, so that both sides have
    the same library and threads.
    """
    n_images = len(images)
    annotation, search = [], []
    for i in range(0, n_images, step):
        order = np.argsort((images[i : i + 1] @ captions.T).numpy()[0])[::-1]
        own = range(CAPTIONS * i, CAPTIONS * (i + 1))
        annotation.append(min(np.where(order == j)[0][0] for j in own))
    for i in range(0, n_images, step):
        scores = captions[CAPTIONS * i : CAPTIONS * (i + 1)] @ images.T
        for row in scores.numpy():
            search.append(np.where(np.argsort(row)[::-1] == i)[0][0])
    return np.array(annotation), np.array(search)


def _beside_the_loop(
    report: Callable, clock: Callable[[], float], n_images: int, dim: int, whole: bool
) -> None:
    size = f"{n_images:,} x {CAPTIONS * n_images:,}"
    images, captions = embeddings(n_images, dim)
    mapping = torch.arange(len(captions)) // CAPTIONS
    step = 1 if whole or n_images <= 1000 else 10
    repeats = 3 if n_images <= 1000 else 1
    ours, product = [], []
    loops: dict[str, list[float]] = {"original's": [], "VSE++'s": []}
    for _ in range(repeats):
        for name, wide in (("original's", False), ("VSE++'s", True)):
            rows = (images.double(), captions.double()) if wide else (images, captions)
            loops[name].append(step * _seconds(clock, lambda rows=rows: argsort_loop(*rows, step)))
        for _ in range(3):
            product.append(_seconds(clock, lambda: _product(images, captions)))
            ours.append(_seconds(clock, lambda: retrieval_ranks(images, captions, mapping)))
    note = "both directions" if step == 1 else f"both directions; loop: every {step}th image"
    for name, times in loops.items():
        report(
            f"ranks {size}, {name} loop", min(ours), min(times), min(times) / min(ours), "s", note
        )
    report(
        f"matrix product's share, {size}",
        min(ours),
        min(product),
        min(product) / min(ours),
        "s",
        f"{2e-9 * images.numel() * len(captions) / min(product):.0f} GFLOP/s",
    )
    expected = argsort_loop(images, captions, 50)
    found = retrieval_ranks(images, captions, mapping)
    every = np.flatnonzero(np.arange(len(captions)) // CAPTIONS % 50 == 0)
    wrong = (found[0].numpy()[::50] != expected[0]).sum()
    wrong += (found[1].numpy()[every] != expected[1]).sum()
    print(f"ranks that differ from the loop's: {wrong} of {len(expected[0]) + len(expected[1])}")

    images, captions = embeddings(n_images, dim, noise=1000.0)
    ours = [_seconds(clock, lambda: retrieval_ranks(images, captions, mapping)) for _ in range(3)]
    for name, times in loops.items():
        case = f"ranks {size}, untrained, {name} loop"
        report(case, min(ours), min(times), min(times) / min(ours), "s", note)


def _product(images: torch.Tensor, captions: torch.Tensor) -> None:
    """The matrix product alone, in the same blocks."""
    rows, columns = ON_CPU
    out = torch.empty(rows, columns)
    for some in images.split(rows):
        for others in captions.split(columns):
            torch.mm(some, others.T, out=out[: len(some), : len(others)])


def _memory(report: Callable, n_images: int, dim: int) -> None:
    """Peak extra memory, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.evaluation", "--memory-of", str(n_images)]
    done = subprocess.run([*command, "--dim", str(dim)], capture_output=True, text=True, check=True)
    extra = json.loads(done.stdout.splitlines()[-1])
    matrix = 4e-6 * CAPTIONS * n_images**2
    report(
        f"peak extra memory {n_images:,} x {CAPTIONS * n_images:,}",
        extra,
        matrix,
        matrix / extra,
        "MB",
        "reference: one float32 score matrix",
    )


def _extra_memory(n_images: int, dim: int) -> float:
    images, captions = embeddings(n_images, dim)
    mapping = torch.arange(len(captions)) // CAPTIONS
    retrieval_ranks(images[:8], captions[:40], mapping[:40])  # code and libraries are loaded
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    before = _status("VmRSS")
    retrieval_ranks(images, captions, mapping)
    return _status("VmHWM") - before


def _status(name: str) -> float:
    """A size of this process in MB (10^6 bytes), from Linux."""
    text = Path("/proc/self/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def _large(report: Callable, clock: Callable[[], float], n_images: int, dim: int) -> None:
    images, captions = embeddings(n_images, dim)
    mapping = torch.arange(len(captions)) // CAPTIONS
    some, others = images[:1024], captions[:65_536]
    product = min(_seconds(clock, lambda: _product(some, others)) for _ in range(3))
    floor = product * len(images) / len(some) * len(captions) / len(others)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    ours = _seconds(clock, lambda: retrieval_ranks(images, captions, mapping, verbose=True))
    extra = _status("VmHWM") - before
    size = f"{n_images:,} x {len(captions):,}"
    report(f"matrix product's share, {size}", ours, floor, floor / ours, "s", f"dim {dim}")
    matrix = 4e-6 * len(images) * len(captions)
    report(f"peak extra memory {size}", extra, matrix, matrix / extra, "MB", "one score matrix")


def _seconds(clock: Callable[[], float], work: Callable[[], Any]) -> float:
    started = clock()
    work()
    return clock() - started


if __name__ == "__main__":
    main()
