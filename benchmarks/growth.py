"""How time and memory grow: training step, data, encoding, ranks, search and indexing, four sizes.

    python -m benchmarks.growth --plot docs/growth.png

Each point is a process of its own with one thread: its processor time, the quickest of three, and
the memory that it takes beyond what it is given. The slope in log-log is 1 where a cost grows in
step with the work; pairs of images and captions are the work of ranking.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.encoders import Step, build, flickr8k_captions
from benchmarks.evaluation import CAPTIONS, embeddings
from benchmarks.machine import status
from vse_exp.data.buckets import LengthBuckets
from vse_exp.evaluation.ranks import retrieval_ranks
from vse_exp.retrieval.build import build_gallery
from vse_exp.retrieval.search import search
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary

SCALES = (1, 2, 4, 8)
Work = tuple[float, Callable[[], Any]]
"""How much there is to do, and what does it."""


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--plot", type=Path, help="a PNG")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)  # no pool of threads, so that a fork is safe
    _flickr8k()  # once, before the forks
    rows: list[dict[str, Any]] = []
    curves: dict[str, tuple[str, np.ndarray]] = {}
    print(f"{'case':34} {'time slope':>10} {'memory':>8}  work, CPU seconds, MB beyond the inputs")
    for name, (unit, prepare) in CASES.items():
        base = 0.02 if options.quick else 1.0
        points = np.array([_in_a_process(prepare, base * scale) for scale in SCALES])
        curves[name] = unit, points
        logs = np.log(np.maximum(points, 1e-9))
        slope = np.polyfit(logs[:, 0], logs[:, 1], 1)[0]
        # below a few MB it is noise of the allocator
        held = np.log(np.maximum(points[:, 2], 4.0))
        memory = np.polyfit(logs[:, 0], held, 1)[0]
        shown = "; ".join(f"{work:.3g}, {taken:.3g}, {mb:.0f}" for work, taken, mb in points)
        print(f"{name:34} {slope:10.2f} {memory:8.2f}  {shown}", flush=True)
        for what, value in (("time", slope), ("memory", memory)):
            row = {"benchmark": "growth", "case": f"{what} of {name}", "ours": float(value)}
            row |= {"reference": 1.0, "ratio": float(value), "unit": "slope"}
            rows.append(row | {"notes": f"{unit}, CPU s, MB: {shown}"})
    if options.plot:
        draw(curves, options.plot)
    return rows


def _in_a_process(prepare: Callable[[float], Work], scale: float) -> tuple[float, float, float]:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_point, args=(prepare, scale, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _point(prepare: Callable[[float], Work], scale: float, sender: Any) -> None:
    """Send the work, the CPU seconds that it takes, and its peak memory in MB."""
    amount, work = prepare(scale)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    before, times = status("VmRSS"), []
    for _ in range(3):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    sender.send((amount, min(times), max(0.0, status("VmHWM") - before)))


@cache
def _flickr8k() -> tuple[list[str], Vocabulary, TokenizedCaptions]:
    captions = flickr8k_captions()
    vocabulary = Vocabulary.build(captions)
    return captions, vocabulary, vocabulary.encode(captions)


def _step(encoder: str, scale: float) -> Work:
    _, vocabulary, tokenized = _flickr8k()
    chosen = np.flatnonzero(tokenized.lengths == 11)[: int(64 * scale)]
    tokens, _ = tokenized.batch(chosen)
    model = build(encoder, 1280, vocabulary, dim=512)
    sentence: Any = model.sentence_encoder
    sentence.embedding.sparse = True
    images = torch.randn(len(chosen), 1280)
    return len(chosen), lambda: Step(model)(tokens, images)


def _vocabulary(scale: float) -> Work:
    """Bow's step over vocabularies of other sizes, for one batch."""
    words = int(4000 * scale)
    vocabulary = Vocabulary([f"w{number}" for number in range(words)])
    model = build("bow", 1280, vocabulary, dim=512)
    sentence: Any = model.sentence_encoder
    sentence.embedding.sparse = True
    tokens, images = torch.randint(3, words, (64, 12)), torch.randn(64, 1280)
    return words, lambda: Step(model)(tokens, images)


def _data(scale: float) -> Work:
    some, _, _ = _flickr8k()
    count = int(15_000 * scale)
    captions = (some * -(-count // len(some)))[:count]

    def prepare() -> None:
        tokenized = Vocabulary.build(captions).encode(captions)
        owners = np.arange(count) // CAPTIONS
        next(iter(LengthBuckets(tokenized.lengths, owners, 128, bucket_width=1)))

    return count, prepare


def _encoding(encoder: str, per_scale: int, scale: float) -> Work:
    some, vocabulary, _ = _flickr8k()
    count = int(per_scale * scale)
    captions = (some * -(-count // len(some)))[:count]
    model = build(encoder, 8, vocabulary, dim=512).eval()
    return count, lambda: model.encode_sentences(captions)


def _ranks(scale: float) -> Work:
    images, captions = embeddings(int(1000 * scale**0.5), 256)
    owners = torch.arange(len(captions)) // CAPTIONS
    return len(images) * len(captions), lambda: retrieval_ranks(images, captions, owners)


def _search(count: int, scale: float) -> Work:
    random = np.random.default_rng(0)
    gallery = random.standard_normal((int(25_000 * scale), 256), dtype=np.float32)
    queries = random.standard_normal((count, 256), dtype=np.float32)
    return len(gallery), lambda: search(queries, gallery, 10)


def _indexing(scale: float) -> Work:
    features = np.random.default_rng(0).standard_normal((int(5000 * scale), 1280), np.float32)
    model = build("bow", 1280, Vocabulary.build(["a dog"]), dim=512).eval()

    def index() -> None:
        with tempfile.TemporaryDirectory() as folder:
            build_gallery(model, Path(folder) / "gallery", images=features)

    return len(features), index


def _of(function: Callable[..., Work], *arguments: Any) -> Callable[[float], Work]:
    return lambda scale: function(*arguments, scale)


CASES: dict[str, tuple[str, Callable[[float], Work]]] = {
    "training step, gru": ("captions a batch", _of(_step, "gru")),
    "training step, bow": ("captions a batch", _of(_step, "bow")),
    "training step, bow, by vocabulary": ("words", _vocabulary),
    "data to the first batch": ("captions", _data),
    "encoding, gru": ("captions", _of(_encoding, "gru", 500)),
    "encoding, bow": ("captions", _of(_encoding, "bow", 15_000)),
    "ranks": ("pairs", _ranks),
    "search, 1 query": ("items", _of(_search, 1)),
    "search, 256 queries": ("items", _of(_search, 256)),
    "indexing of images": ("images", _indexing),
}


def draw(curves: dict[str, tuple[str, np.ndarray]], path: Path) -> None:
    """Time and memory, each relative to that of the smallest size, over the work."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullLocator

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    scales = np.array(SCALES, dtype=float)
    for number, (name, (_, points)) in enumerate(curves.items()):
        style = {"marker": "os^v"[number % 4], "color": f"C{number}", "markersize": 5}
        work = points[:, 0] / points[0, 0]
        left.plot(work, points[:, 1] / points[0, 1], label=name, **style)
        right.plot(work, np.maximum(points[:, 2], 1.0), label=name, **style)
    left.plot(scales, scales, color="0.6", linestyle="--", zorder=0, label="in step with the work")
    left.set_ylabel("processor time, times that of the smallest")
    right.set_ylabel("memory beyond the inputs, MB")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(scales)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        axes.set_xlabel("work, times that of the smallest")
        axes.grid(color="0.9")
    left.set_yticks([1, 2, 4, 8])
    right.set_yticks([10, 30, 100, 300])
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
