"""Exact search over a large memory-mapped gallery, beside the limits of the hardware.

    python -m benchmarks.search                      # 1,000,000 x 1024 float32, 4.1 GB on disk
    python -m benchmarks.search --items 200000
    python -m benchmarks.search --ann                # FAISS beside it, on a fifth of the items

One query reads the whole gallery once: its limit is the time to read as much from memory, taken as
the fastest of a sum and a matrix-vector product over an array that is there already. Many queries
are limited by the matrix product of the same shapes, in blocks that fit. Searches and limits take
turns, so that a machine that is busy elsewhere slows both.
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


def _one_query(report: Callable, gallery: np.ndarray, size: str, repeats: int) -> None:
    query = queries(1)
    vector = torch.from_numpy(query[0])
    # as many bytes of an array in memory, read piece by piece
    piece = torch.from_numpy(np.array(gallery[: max(1, len(gallery) // 8)]))
    share = gallery.nbytes / (piece.numel() * piece.element_size())
    full = piece.float()
    in_float32 = gallery.nbytes / (full.numel() * full.element_size())
    ours, limit = [], []
    search(query, gallery, K)  # the pages are mapped
    for _ in range(repeats):
        limit.append(
            min(
                _seconds(lambda: piece.view(torch.int32).amax()) * share,
                _seconds(lambda: torch.mv(full, vector)) * in_float32,
            )
        )
        ours.append(_seconds(lambda: search(query, gallery, K)))
    reached = 1e-9 * gallery.nbytes / min(ours)
    note = f"top {K}; reference: reading as many bytes from memory; {reached:.1f} GB/s"
    report(f"1 query, {size}", min(ours), min(limit), note)


def _many_queries(
    report: Callable, gallery: np.ndarray, size: str, count: int, repeats: int
) -> None:
    wanted = queries(count)
    rows = torch.from_numpy(wanted)
    # the limit on a part in memory: the product costs the same for each block
    n = min(len(gallery), 1 << 16)
    part = torch.from_numpy(np.array(gallery[:n], dtype=np.float32))
    ours, shares = [], []
    for _ in range(repeats):
        limit = min(_seconds(lambda: _product(part, rows)) for _ in range(2))
        ours.append(_seconds(lambda: search(wanted, gallery, K)))
        limit = min(limit, *(_seconds(lambda: _product(part, rows)) for _ in range(2)))
        shares.append(limit * len(gallery) / n / ours[-1])
    share = median(shares)
    speed = 2e-9 * len(gallery) * DIM * count / min(ours)
    note = f"top {K}; reference: the matrix product alone; {speed:.0f} GFLOP/s"
    report(f"{count:,} queries, {size}", min(ours), share * min(ours), note)


def _product(gallery: torch.Tensor, rows: torch.Tensor) -> None:
    for part in rows.split(256):
        torch.mm(gallery, part.T)


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


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    main()
