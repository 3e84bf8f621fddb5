"""Bytes that processes send each other: a training step under DDP, and a sharded evaluation.

    python -m benchmarks.communication
    python -m benchmarks.communication --processes 2 4 --dim 1024

What follows from the sizes is put beside what is handed to the collectives, counted by wrapping
them, and beside what crosses the loopback device meanwhile, packet headers and all. A process of N
sends N - 1 times what it gathers, and 2 (N - 1) / N times what it reduces, in rings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.encoders import build
from vse_exp.evaluation.torchmetric import RetrievalMetric
from vse_exp.losses.hinge import HingeLoss
from vse_exp.models.vse import VSE
from vse_exp.text.vocabulary import Vocabulary
from vse_exp.training.distributed import REDUCE_SCATTER, whole_loss

WORDS, DIM_IMAGE, BATCH, LENGTH, STEPS = 2000, 512, 64, 12, 5
IMAGES, CAPTIONS = 200, 1000
TRAINING, EVALUATION = "training step", "evaluation"


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.communication")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(_run_processes(options.child, options.dim)))
        return []
    rows: list[dict[str, Any]] = []
    print(f"{'case':44} {'counted':>12} {'calculated':>12} {'ratio':>8}")
    for processes in options.processes:
        command = [sys.executable, "-m", "benchmarks.communication", "--dim", str(options.dim)]
        command += ["--child", str(processes)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        for what, expected in calculated(processes, options.dim).items():
            counted, device = found[what]["sent"], found[what]["loopback"] / processes
            case = f"bytes sent, {what}, {processes} processes"
            row = {"benchmark": "communication", "case": case, "ours": float(counted)}
            row |= {"reference": expected, "ratio": counted / expected, "unit": "bytes a process"}
            note = f"reference: by calculation; loopback device {device:,.0f}"
            rows.append(row | {"notes": note})
            print(f"{case:44} {counted:12,.0f} {expected:12,.0f} {counted / expected:8.4f}  {note}")
    return rows


def calculated(processes: int, dim: int) -> dict[str, float]:
    """Bytes that each process sends for a step, and for an evaluation, by the sizes alone."""
    parameters = (WORDS + 3) * dim + DIM_IMAGE * dim + dim
    reduced = 2 * (processes - 1) / processes * 4 * parameters
    # rows of both sides in float32, the image's id of each pair, and how many pairs there are
    # (another 4 bytes of the loss are not counted); then the gradients of both sides' rows
    gathered = BATCH * (2 * 4 * dim + 8) + 8 + BATCH * 2 * 4 * dim
    # rows of all, ids of images, ids of captions and of their images; the five sizes before them
    ranked = (IMAGES + CAPTIONS) // processes * 4 * dim
    ranked += 8 * (IMAGES + 2 * CAPTIONS) // processes + 5 * 8
    return {
        TRAINING: reduced + (processes - 1) * gathered,
        EVALUATION: float((processes - 1) * ranked),
    }


class _Step(nn.Module):
    """What DDP wraps: the loss of all processes' pairs."""

    def __init__(self, model: VSE) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, images: Tensor, ids: Tensor) -> Tensor:
        embedded = self.model.embed_images(images), self.model.embed_captions(tokens)
        return whole_loss(HingeLoss(), *embedded, ids)


def _run_processes(processes: int, dim: int) -> dict[str, dict[str, float]]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(
            _process, (processes, dim, folder), nprocs=processes, start_method="fork"
        )
        return json.loads((Path(folder) / "found.json").read_text())


def _process(rank: int, processes: int, dim: int, folder: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = dist.FileStore(f"{folder}/store", processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    sent: Counter[str] = Counter()
    dist.all_gather = _counting(dist.all_gather, sent, processes, own=1)
    parts = _counting(getattr(dist, REDUCE_SCATTER), sent, processes, own=0)
    setattr(dist, REDUCE_SCATTER, parts)
    model = build("bow", DIM_IMAGE, Vocabulary([f"w{n}" for n in range(WORDS)]), dim=dim)
    step = DistributedDataParallel(_Step(model))

    def reduce(_, bucket):  # torch looks at the annotations, and wants classes and not their names
        sent["bytes"] += 2 * (processes - 1) * bucket.buffer().nbytes // processes
        done = dist.all_reduce(bucket.buffer(), async_op=True)
        assert done is not None
        return done.get_future().then(lambda future: future.value()[0] / processes)

    step.register_comm_hook(None, reduce)
    tokens = torch.randint(3, WORDS, (BATCH, LENGTH))
    images, ids = torch.randn(BATCH, DIM_IMAGE), torch.arange(BATCH) + rank * BATCH
    found = {}

    def measure(what: str, work: Callable[[], Any], times: int) -> None:
        work()  # the first builds buckets and connections
        dist.barrier()
        sent.clear()
        before = _loopback()
        for _ in range(times):
            work()
        dist.barrier()
        found[what] = {
            "sent": sent["bytes"] / times,
            "loopback": (_loopback() - before) / times,
        }

    measure(TRAINING, lambda: step(tokens, images, ids).backward(), STEPS)
    measure(EVALUATION, lambda: _evaluate(rank, processes, dim), 2)
    if rank == 0:
        (Path(folder) / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def _evaluate(rank: int, processes: int, dim: int) -> None:
    """Each process gives its share of random embeddings, as it would have embedded them."""
    metric = RetrievalMetric()
    images = torch.arange(rank, IMAGES, processes)
    captions = torch.arange(rank, CAPTIONS, processes)
    metric.update_images(torch.randn(len(images), dim), images)
    owners = captions // (CAPTIONS // IMAGES)
    metric.update_captions(torch.randn(len(captions), dim), captions, owners)
    metric.compute()


def _counting(
    exchange: Callable[..., Any], sent: Counter[str], processes: int, own: int
) -> Callable[..., Any]:
    """`own`: which of the arguments is a process's own rows, that all others send or get."""

    def counted(*arguments: Any, **options: Any) -> Any:
        sent["bytes"] += (processes - 1) * arguments[own].nbytes
        return exchange(*arguments, **options)

    return counted


def _loopback() -> int:
    """Bytes that the loopback device has sent, of all programs."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(np.array(numbers.split())[8])
    return 0


if __name__ == "__main__":
    main()
