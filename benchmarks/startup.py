"""From the command to the first training step, and from a checkpoint to the first vector.

    python -m benchmarks.startup                  # on Flickr8k, where it lies
    python -m benchmarks.startup --repeats 3

Each run is a process of its own, which marks where it stands: seconds since it was started, wall
and processor time. The quickest of the repeats counts: the files are in the system's cache then.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TARGETS = {"train": 8.0, "encode": 2.5}
"""Seconds, on two cores."""


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup")
    parser.add_argument("--case", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        case, folder = options.child
        (_train if case == "train" else _encode)(folder)
        return []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        for case in options.case:
            runs = [_run(case, folder) for _ in range(options.repeats)]
            best = min(runs, key=lambda marks: marks[-1]["cpu"])
            phases, wall, cpu = [], 0.0, 0.0
            for mark in best:
                phases.append(f"{mark['phase']} {mark['wall'] - wall:.2f}/{mark['cpu'] - cpu:.2f}")
                wall, cpu = mark["wall"], mark["cpu"]
            title = {"train": "command to first step", "encode": "load_model and first encode"}
            for unit, value in (("s", min(run[-1]["wall"] for run in runs)), ("CPU s", cpu)):
                row = {"benchmark": "startup", "case": title[case], "ours": value}
                row |= {"reference": TARGETS[case], "ratio": TARGETS[case] / value, "unit": unit}
                rows.append(row | {"notes": f"reference: target; wall/CPU: {', '.join(phases)}"})
                print(f"{title[case]:32} {value:7.2f} {TARGETS[case]:7.2f} {unit:5}")
            print("   " + ", ".join(phases))
    return rows


def _prepare(folder: Path) -> None:
    """A checkpoint as large as one of Flickr8k, and a data set where there is none."""
    from benchmarks.encoders import build, flickr8k_captions
    from benchmarks.loop import write_dataset
    from vse_exp.models.checkpoint import save_model
    from vse_exp.text.vocabulary import Vocabulary

    captions = flickr8k_captions()
    save_model(build("bow", 1280, Vocabulary.build(captions)), folder / "model.ckpt")
    if not _flickr8k().is_dir():
        write_dataset(folder, captions, 1280)


def _flickr8k() -> Path:
    return Path(os.environ.get("VSE_DATA_DIR", "data")) / "f8k"


def _run(case: str, folder: str) -> list[dict[str, Any]]:
    """The marks of one process: phase, wall seconds since its start, processor seconds."""
    command = [sys.executable, "-m", "benchmarks.startup", "--child", case, folder]
    environment = os.environ | {"STARTED": repr(time.time())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class _Marks:
    """Where a process stands, since its parent started it."""

    def __init__(self) -> None:
        self.marks: list[dict[str, Any]] = []

    def __call__(self, phase: str) -> None:
        wall = time.time() - float(os.environ["STARTED"])
        self.marks.append({"phase": phase, "wall": wall, "cpu": time.process_time()})


def _encode(folder: str) -> None:
    mark = _Marks()
    mark("Python")
    import torch  # noqa: F401

    mark("torch")
    import vse_exp

    model = vse_exp.load_model(f"{folder}/model.ckpt")
    mark("load_model")
    model.encode_sentences(["two dogs in the snow"])
    mark("encode")
    print(json.dumps(mark.marks))


def _train(folder: str) -> None:
    """`python -m vse_exp.train`, with marks where one of its parts is called, up to an update."""
    mark = _Marks()
    mark("Python")
    from vse_exp import train as entry

    mark("Hydra")
    import torch  # noqa: F401

    mark("torch")
    from vse_exp.training.imports import import_lightning

    import_lightning()
    mark("Lightning")
    from lightning.pytorch import Trainer

    from vse_exp.training import building
    from vse_exp.training import fit as training
    from vse_exp.training.log import TrainingLog

    mark("vse_exp")

    def marked(owner: Any, name: str, before: str, after: str | None = None) -> None:
        plain = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            mark(before)
            result = plain(*arguments, **options)
            if after is not None:
                mark(after)
            return result

        setattr(owner, name, wrapped)

    def stop(*_: Any) -> None:
        mark("first step")
        print(json.dumps(mark.marks), flush=True)
        os._exit(0)

    marked(training, "train", "compose")
    marked(building, "build_model", "run folder, modules", "data, model")
    marked(Trainer, "fit", "trainer", None)
    TrainingLog.on_train_batch_end = stop  # type: ignore[method-assign]  # on purpose
    root = [] if _flickr8k().is_dir() else ["data=custom", "data.name=speed"]
    root += [] if _flickr8k().is_dir() else [f"paths.data_dir={folder}"]
    sys.argv = ["vse_exp.train", *(root or ["data=f8k"]), f"paths.run_dir={folder}/run"]
    sys.argv.append("resume=never")
    entry.main()


if __name__ == "__main__":
    main()
