"""Exact search over a large memory-mapped gallery, beside the limits of the hardware.

    python -m benchmarks.search                      # 1,000,000 x 1024 float32, 4.1 GB on disk
    python -m benchmarks.search --items 200000
    python -m benchmarks.search --ann                # FAISS beside it, on a fifth of the items

One query reads the whole gallery once: its limit is the time of reading it, by a sum. Many queries
are limited by the matrix product, in blocks. Searches and limits take turns, and the ratio is the
median share of neighbouring runs; processor time says the same on a machine that others use too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from vse_exp.evaluation.rows import as_rows
from vse_exp.retrieval.ann import AnnIndex, AnnOptions
from vse_exp.retrieval.search import search

K = 10
DIM = 1024
WRITTEN_ROWS = 50_000


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 16, 256, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--half", action="store_true", help="a float16 gallery")
    parser.add_argument("--ann", action="store_true", help="approximate search too")
    parser.add_argument("--folder", help="for the gallery; default: the system's temporary one")
    options = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []

    def report(case: str, ours: float, reference: float, notes: str) -> None:
        row = {"benchmark": "search", "case": case, "ours": ours, "reference": reference}
        rows.append(row | {"ratio": reference / ours, "unit": "s", "notes": notes})
        print(f"{case:48} {ours:10.4g} {reference:10.4g} {reference / ours:8.3f}  s  {notes}")

    print(f"{'case':48} {'ours':>10} {'reference':>10} {'ratio':>8}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        dtype = np.float16 if options.half else np.float32
        gallery = write_gallery(Path(folder) / "gallery.npy", options.items, dtype)
        size = f"{options.items:,} x {DIM} {np.dtype(dtype)}"
        for count in options.queries:
            if count == 1:
                _one_query(report, gallery, size, options.repeats)
            else:
                _many_queries(report, gallery, size, count, options.repeats)
        if options.ann:
            _approximate(report, gallery[: options.items // 5])
    return rows


def write_gallery(path: Path, items: int, dtype: Any = np.float32) -> np.ndarray:
    """Unit rows (items, DIM), written to disk and mapped; random but for repeated directions."""
    random = np.random.default_rng(0)
    block = random.standard_normal((min(items, WRITTEN_ROWS), DIM), dtype=np.float32)
    block /= np.linalg.norm(block, axis=1, keepdims=True)
    mapped = np.lib.format.open_memmap(path, "w+", dtype, (items, DIM))
    for number, start in enumerate(range(0, items, len(block))):
        rows = np.roll(block, number, axis=1)  # others, at the cost of a copy
        mapped[start : start + len(block)] = rows[: items - start]
    mapped.flush()
    return np.load(path, mmap_mode="r")


def queries(count: int) -> np.ndarray:
    rows = np.random.default_rng(1).standard_normal((count, DIM), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _beside(
    report: Callable, case: str, ours: Callable, limit: Callable, repeats: int, note: Callable
) -> None:
    """Report the median share of pairs of runs, in wall-clock time, and in processor time."""
    ours()  # pages are mapped
    pairs = []
    for number in range(repeats):
        order = (ours, limit) if number % 2 else (limit, ours)
        taken = {work: _seconds(work) for work in order}
        pairs.append((taken[ours], taken[limit]))
    share = median(limit[0] / ours[0] for ours, limit in pairs)
    work = median(limit[1] / ours[1] for ours, limit in pairs)
    best = min(ours[0] for ours, _ in pairs)
    report(case, best, share * best, f"{note(best)}; by processor time {work:.2f}")


def _one_query(report: Callable, gallery: np.ndarray, size: str, repeats: int) -> None:
    query = queries(1)
    everything = as_rows(gallery, "gallery").view(torch.float32)
    pieces = everything.split(1 << 16)

    def read() -> None:
        for piece in pieces:
            piece.sum()

    _beside(
        report,
        f"1 query, {size}",
        lambda: search(query, gallery, K),
        read,
        3 * repeats,
        lambda best: f"limit: reading it once; {1e-9 * gallery.nbytes / best:.1f} GB/s",
    )


def _many_queries(
    report: Callable, gallery: np.ndarray, size: str, count: int, repeats: int
) -> None:
    wanted = queries(count)
    rows = torch.from_numpy(wanted)
    parts = as_rows(gallery, "gallery").split(1 << 15)
    out = torch.empty(len(parts[0]), min(256, count))

    def product() -> None:
        for part in parts:
            for some in rows.split(256):
                torch.mm(part.float(), some.T, out=out[: len(part), : len(some)])

    flops = 2 * len(gallery) * DIM * count
    _beside(
        report,
        f"{count:,} queries, {size}",
        lambda: search(wanted, gallery, K),
        product,
        repeats,
        lambda best: f"limit: the matrix product; {1e-9 * flops / best:.0f} GFLOP/s",
    )


def _approximate(report: Callable, gallery: np.ndarray) -> None:
    """FAISS on rows that have neighbours, as embeddings do: queries are rows with noise."""
    chosen = np.random.default_rng(2).choice(len(gallery), 200)
    wanted = np.array(gallery[chosen], dtype=np.float32) + 0.8 * queries(200)
    for kind in ("ivf", "hnsw"):
        about = AnnIndex.build(gallery, AnnOptions(kind), wanted).about
        note = (
            f"reference: exact search; recall@10 {about['recall@10']:.3f}, "
            f"built in {about['build_seconds']:.0f} s"
        )
        case = f"{kind}, {len(gallery):,} items, a query"
        report(case, about["seconds_a_query"], about["exact_seconds_a_query"], note)


def _seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall-clock time, and processor time of all threads."""
    started, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - busy


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    main()
