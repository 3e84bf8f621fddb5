"""What a GPU is kept busy with: ratios that hold on any, for a table to compare and to report.

    python -m benchmarks.gpu                          # five minutes on one GPU
    python -m benchmarks.gpu --csv gpu.csv --only step ranks
    python -m benchmarks.gpu --device cpu --quick     # that it runs; such figures mean nothing

`step`: a training step beside its matrix products alone, and the memory it takes; `loader`: what
the host does for a batch beside the step; `ranks`: exact ranks beside the product of all scores;
`extract`: pictures to features, decoded by workers, beside the network alone. A ratio near 1 is
the hardware's limit. Times are wall time, after the device is done.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where it is run as a file
from benchmarks.encoders import Floor, Step, build, flickr8k_captions
from benchmarks.evaluation import CAPTIONS, embeddings
from benchmarks.machine import describe, print_table, write_csv
from vse_exp.data.loading import Captions, Pairs
from vse_exp.data.scenes.drawing import draw
from vse_exp.data.scenes.sampling import sample_scene
from vse_exp.device import find_device, full_precision, spare_processors
from vse_exp.errors import UserError
from vse_exp.evaluation.ranks import retrieval_ranks
from vse_exp.images.backbones import build_backbone
from vse_exp.images.computing import Settings
from vse_exp.images.extraction import extract_features
from vse_exp.images.features import ImageFeatures, ResidentFeatures, StoredFeatures
from vse_exp.images.rows import Images
from vse_exp.text.vocabulary import Vocabulary


class Sizes(NamedTuple):
    batch: int = 1024
    dim: int = 1024
    dim_image: int = 4096
    images: int = 5000
    pictures: int = 2048
    backbone: str = "resnet50"
    repeats: int = 20


class Repeated:
    """So many JPEGs of 500 pixels, of which every 32nd is the same (`vse_exp.images.sources`)."""

    def __init__(self, count: int) -> None:
        self.names, self.contents = [f"{index:06}.jpg" for index in range(count)], []
        for index in range(min(count, 32)):
            file = io.BytesIO()
            draw(sample_scene(0, "train", index), 500).save(file, "JPEG")
            self.contents.append(file.getvalue())

    def read(self, index: int) -> bytes:
        return self.contents[index % len(self.contents)]


QUICK = Sizes(16, 16, 24, 40, 8, "resnet18", 2)


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--csv", type=Path, help="a file for the table")
    options = parser.parse_args(argv)
    device = find_device(options.device)
    if device.type == "cpu" and options.device != "cpu":
        raise UserError(
            "No GPU is here, and these figures are of one: run it where torch finds one "
            "(python -m benchmarks measures the CPU)."
        )
    machine = f"{_name(device)}; {describe()}"
    print(machine, flush=True)
    rows: list[dict[str, Any]] = []
    for part in options.only:
        rows += PARTS[part](device, QUICK if options.quick else Sizes())
        if options.csv is not None:
            write_csv(rows, options.csv, machine)
    print_table(rows, machine)
    return rows


def _step(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """Training steps beside their products, in float32, TF32 and under bfloat16."""
    rows = []
    for encoder in ("bow", "gru", "lstm"):
        step, tokens, images = _training(encoder, device, sizes)
        with torch.device(device):
            floor = Floor(encoder, tokens.shape, sizes.dim_image, sizes.dim)
        with full_precision():
            ours, products = _seconds(device, sizes, partial(step, tokens, images), floor)
        case = f"training step {encoder}, {sizes.batch} x {sizes.dim_image}"
        rows.append(_row("step", f"{case}, float32", ours, products, "matrix products alone"))
        for name, setting in (("TF32", _tf32), ("bfloat16", partial(_bfloat16, device))):
            with setting():
                (quick,) = _seconds(device, sizes, partial(step, tokens, images))
            rows.append(_row("step", f"{case}, {name}", quick, ours, "the same in float32"))
        rows += _memory(device, f"memory of {case}", partial(step, tokens, images))
    return rows


def _loader(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """A batch, from the numbers of its captions to the device, beside the step on it."""
    step, tokens, images = _training("gru", device, sizes)
    (stepping,) = _seconds(device, sizes, partial(step, tokens, images))
    lines = flickr8k_captions()[: CAPTIONS * sizes.images]
    ids, caption_image = Vocabulary.build(lines).encode(lines), np.arange(len(lines)) // CAPTIONS
    random = np.random.default_rng(0)
    chosen = random.choice(len(lines), sizes.batch)
    table = random.standard_normal((sizes.images, sizes.dim_image), np.float32)
    features = ImageFeatures(table.astype(np.float16))
    ways: dict[str, Images] = {
        "resident": ResidentFeatures(features, device), "from the host": StoredFeatures(features)
    }  # fmt: skip
    rows = []
    for name, source in ways.items():
        pairs = Pairs(Captions(ids, caption_image), source)

        def fetch(pairs: Pairs = pairs, source: Images = source) -> None:
            batch = pairs[chosen]
            batch.tokens.to(device)
            source.arrived(batch.images.to(device))

        (fetching,) = _seconds(device, sizes, fetch)
        case = f"batch of {sizes.batch} x {sizes.dim_image} float16, {name}, no workers"
        rows.append(
            _row("loader", case, fetching, stepping, "the gru's step, which hides what is above 1")
        )
    return rows


def _ranks(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """Ranks in both directions beside the product of all scores, once."""
    images, captions = (part.to(device) for part in embeddings(sizes.images, sizes.dim))
    mapping = torch.arange(len(captions), device=device) // CAPTIONS

    def product() -> None:
        for some in images.split(1024):
            torch.mm(some, captions.T)

    rows = []
    for similarity in ("cosine", "order"):
        ours = partial(retrieval_ranks, images, captions, mapping, similarity)
        with full_precision():
            seconds, alone = _seconds(device, sizes, ours, product)
        case = f"ranks {similarity}, {len(images):,} x {len(captions):,}"
        rows.append(_row("ranks", case, seconds, alone, "the matrix product in float32"))
    return rows


def _extract(device: torch.device, sizes: Sizes) -> list[dict[str, Any]]:
    """JPEGs to features, by all processors, beside the network on a block."""
    pictures = Repeated(sizes.pictures)
    backbone = build_backbone(sizes.backbone, "random")
    workers = spare_processors() if device.type != "cpu" else 0
    settings = Settings(num_workers=workers)
    with tempfile.TemporaryDirectory() as folder:
        done = extract_features(pictures, backbone, Path(folder) / "x.npy", settings, device=device)
    size = min(settings.batch_size, sizes.pictures)
    side = backbone.preprocessing.crop
    views = torch.randint(0, 256, (size, 1, 3, side, side), dtype=torch.uint8, device=device)
    with torch.inference_mode():
        (network,) = _seconds(device, sizes, partial(backbone.features, views))
    each = done.seconds / done.made, network / size
    return [
        _row(
            "extract", f"a picture, {sizes.backbone}, {workers} workers", *each, "the network alone"
        )
    ]


PARTS: dict[str, Callable[[torch.device, Sizes], list[dict[str, Any]]]] = {
    "step": _step, "loader": _loader, "ranks": _ranks, "extract": _extract,
}  # fmt: skip


def _training(encoder: str, device: torch.device, sizes: Sizes) -> tuple[Step, Any, Any]:
    """A step on the device, with captions of one length and features for it."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(flickr8k_captions()[: 6 * sizes.images])
    model = build(encoder, sizes.dim_image, vocabulary, dim=sizes.dim).to(device)
    step = Step(model, torch.optim.Adam(model.parameters(), fused=True))
    tokens = torch.randint(1, len(vocabulary), (sizes.batch, 12), device=device)
    return step, tokens, torch.randn(sizes.batch, sizes.dim_image, device=device)


def _seconds(device: torch.device, sizes: Sizes, *works: Callable[[], Any]) -> list[float]:
    """Median wall seconds of each, in turns, after two rounds of warming up."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(sizes.repeats + 2):
        for work, found in zip(works, times, strict=True):
            _wait(device)
            started = time.perf_counter()
            work()
            _wait(device)
            found.append(time.perf_counter() - started)
    return [median(found[2:]) for found in times]


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def _memory(device: torch.device, case: str, work: Callable[[], Any]) -> list[dict[str, Any]]:
    """What it takes at most, beside what stays: nothing where that is not counted."""
    if device.type != "cuda":
        return []
    work()
    stays = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    peak = torch.cuda.max_memory_allocated(device)
    row = {"benchmark": "step", "case": case, "ours": peak / 1e6, "reference": stays / 1e6}
    return [row | {"ratio": peak / stays, "unit": "MB", "notes": "weights and moments"}]


def _row(benchmark: str, case: str, ours: float, reference: float, notes: str) -> dict[str, Any]:
    """`ratio`: the share of our time that the reference takes."""
    row = {"benchmark": benchmark, "case": case, "ours": 1e3 * ours, "reference": 1e3 * reference}
    return row | {"ratio": reference / ours, "unit": "ms", "notes": f"reference: {notes}"}


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def _bfloat16(device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
