"""Data sets of the size of Flickr8k, Flickr30k and COCO: the first batch, memory, batches a second.

    python -m benchmarks.data                      # f8k f30k coco; 0.5 GB on disk while it runs
    python -m benchmarks.data --sizes f8k --workers 0
    python -m benchmarks.data --whole              # every byte of the features written: 1.9 GB

Each size has a process of its own. Features are memory-mapped, 4096-d float32; by default most of
the file is holes, which is read like any file but never from a disk. Fetching a batch and a bare
step of bow on it take turns: the loader must need a small part of the step's time. A batch of 1,024
is fetched by itself too, beside copying its rows: as float32, as float16, and where features stay
on the device, which then does that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.encoders import BATCH, Step, build, flickr8k_captions
from benchmarks.machine import status
from vse_exp.data.buckets import LengthBuckets
from vse_exp.data.layouts import load_split
from vse_exp.data.loading import Captions, Pairs, pair_loader
from vse_exp.images.features import (
    ImageFeatures,
    ResidentFeatures,
    StoredFeatures,
    open_features,
)
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import Vocabulary

SIZES = {"quick": (200, 1000), "f8k": (6000, 30_000), "f30k": (29_000, 145_000)}
SIZES["coco"] = 113_287, 566_435
DIM_IMAGE = 4096


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data")
    parser.add_argument("--sizes", nargs="+", default=["f8k", "f30k", "coco"], choices=list(SIZES))
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--whole", action="store_true", help="no holes in the feature file")
    parser.add_argument("--folder", help="for the files; default: the system's temporary one")
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.child:
        folder, size = options.child
        print(json.dumps(_measure(folder, size, options.workers, options.batches)))
        return []
    rows: list[dict[str, Any]] = []

    def report(case: str, ours: float, reference: float, unit: str, notes: str) -> None:
        row = {"benchmark": "data", "case": case, "ours": ours, "reference": reference}
        ratio = ours / reference if unit == "batches/s" else reference / ours
        rows.append(row | {"ratio": ratio, "unit": unit, "notes": notes})
        print(f"{case:44} {ours:10.4g} {reference:10.4g} {ratio:8.3g}  {unit:9} {notes}")

    print(f"{'case':44} {'ours':>10} {'reference':>10} {'ratio':>8}")
    _report_fetching(report)
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            images, captions = SIZES[size]
            write_set(Path(folder), images, captions, whole=options.whole)
            arguments = ["--threads", str(options.threads), "--batches", str(options.batches)]
            arguments += ["--workers", *map(str, options.workers), "--child", folder, size]
            command = [sys.executable, "-m", "benchmarks.data", *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        _report(report, size, json.loads(done.stdout.splitlines()[-1]))
    return rows


def _report(report: Any, size: str, found: dict[str, Any]) -> None:
    images, captions = SIZES[size]
    title = f"{size}, {images:,} images, {captions:,} captions"
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found["parts"].items())
    seconds = sum(found["parts"].values())
    note = f"CPU s: {parts}; reference: reading the captions and features alone"
    report(f"{size}: to the first batch", seconds, found["read"], "CPU s", note)
    features = 4e-6 * images * DIM_IMAGE
    note = f"{title}; reference: the features; beyond imports, {found['mapped']:.0f} MB mapped"
    report(f"{size}: resident memory", found["memory"], features, "MB", note)
    for kind, (loader, step) in found["rates"].items():
        note = "by CPU time" if kind == "0" else "by wall time, nothing else to do"
        note += f"; reference: bow's bare steps, batch {BATCH}"
        report(f"{size}: batches, {kind} workers", loader, step, "batches/s", note)


def _report_fetching(report: Any) -> None:
    """CPU time of the thread that trains, for a batch of 1,024 of memory-mapped features."""
    images, size = 4000, 1024
    lines = flickr8k_captions()[: 5 * images]
    ids = Vocabulary.build(lines).encode(lines)
    caption_image = np.arange(len(lines)) // 5
    random = np.random.default_rng(0)
    batches = LengthBuckets(ids.lengths, caption_image, size, bucket_width=8)
    chosen = sorted(batches, key=len)[-12:]
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (np.float32, np.float16):
            path = Path(folder) / "features.npy"
            np.save(path, random.standard_normal((images, DIM_IMAGE), np.float32).astype(dtype))
            features = ImageFeatures(open_features(path))
            resident = ResidentFeatures(features, torch.device("cpu"))
            floor = _fetching(lambda rows, f=features: f.array[caption_image[rows]], chosen)
            for name, rows in (("mapped", StoredFeatures(features)), ("resident", resident)):
                pairs = Pairs(Captions(ids, caption_image), rows)
                ours = _fetching(pairs.__getitem__, chosen)
                case = f"batch of {size:,} x {DIM_IMAGE:,} {dtype.__name__}, {name}"
                report(case, ours, floor, "CPU ms", "reference: copying its rows alone")


def _fetching(work: Any, chosen: list[np.ndarray]) -> float:
    times = []
    for rows in chosen:
        started = time.thread_time()
        work(rows)
        times.append(time.thread_time() - started)
    return 1e3 * min(times)


def write_set(root: Path, images: int, captions: int, whole: bool = False) -> None:
    """The data set `speed`, one split: unit rows of features, captions as Flickr8k's."""
    (root / "speed").mkdir()
    path = root / "speed" / "speed_train_ims.npy"
    features = np.lib.format.open_memmap(path, "w+", np.float32, (images, DIM_IMAGE))
    if whole:
        random = np.random.default_rng(0)
        for start in range(0, images, 5000):
            some = random.standard_normal((min(5000, images - start), DIM_IMAGE), np.float32)
            features[start : start + 5000] = some / np.linalg.norm(some, axis=1, keepdims=True)
    else:
        features[np.arange(images), np.arange(images) % DIM_IMAGE] = 1.0
    features.flush()
    some = flickr8k_captions()
    lines = (some * -(-captions // len(some)))[:captions]
    text = "\n".join(lines) + "\n"
    (root / "speed" / "speed_train_caps.txt").write_text(text, encoding="utf-8")


def _measure(folder: str, size: str, workers: list[int], batches: int) -> dict[str, Any]:
    files = SplitFiles.find(folder, "speed", "train")
    started = time.process_time()
    _read(files.captions, files.features)
    read = time.process_time() - started
    before, parts, last = status("RssAnon"), {}, time.process_time()

    def mark(part: str) -> None:
        nonlocal last
        now = time.process_time()
        parts[part], last = now - last, now

    split = load_split(files, "train")
    mark("read and check")
    vocabulary = Vocabulary.build(split.captions)
    mark("vocabulary")
    captions = vocabulary.encode(split.captions)
    mark("tokens")
    sampler = LengthBuckets(captions.lengths, split.caption_image, BATCH, bucket_width=8)
    iterator = iter(pair_loader(split, captions, sampler))
    next(iterator)
    mark("batches")
    memory, mapped = status("RssAnon") - before, status("RssFile")
    model = build("bow", DIM_IMAGE, vocabulary)
    step = Step(model)
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    fetching, stepping, arguments = [], [], ()
    for _ in range(min(batches, len(sampler) - 1)):
        started = clock()
        batch = next(iterator)
        fetched = clock()
        arguments = batch.tokens, batch.images, batch.lengths
        step(*arguments)
        fetching.append(fetched - started)
        stepping.append(clock() - fetched)
    rates = {"0": (1 / median(fetching), 1 / median(stepping))}
    for count in filter(None, workers):
        iterator = iter(pair_loader(split, captions, sampler, count))
        next(iterator)
        times = [_wall(partial(next, iterator)) for _ in range(min(batches, len(sampler) - 1))]
        steps = [_wall(partial(step, *arguments)) for _ in range(10)]
        rates[str(count)] = len(times) / sum(times), 1 / median(steps)
        del iterator
    return {"read": read, "parts": parts, "memory": memory, "mapped": mapped, "rates": rates}


def _read(captions: Path, features: Path) -> None:
    captions.read_text(encoding="utf-8").splitlines()
    array = np.load(features, mmap_mode="r")
    for start in range(0, len(array), 4096):
        array[start : start + 4096].sum()


def _wall(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
