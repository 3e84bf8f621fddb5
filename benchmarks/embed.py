"""`python -m vse_exp.embed` on files of many captions: captions a second, and bounded memory.

    python -m benchmarks.embed                              # bow and gru, 30,000 captions
    python -m benchmarks.embed --encoder bow --captions 100000 1000000
    python -m benchmarks.embed --encoder gru --captions 30000

The reference is a plain loop: batches of 128 captions of one length, through torch's own module,
on the first captions of the file. Each file has a process of its own, whose peak memory is shown;
the vectors on disk are mapped, and what the system keeps of them is not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.encoders import DIM, ENCODERS, build, encode_plainly, flickr8k_captions
from benchmarks.machine import status
from vse_exp.compat.loading import load_file
from vse_exp.models.checkpoint import save_model
from vse_exp.text.vocabulary import Vocabulary

PLAIN = 2000
"""Captions that the plain loop encodes."""


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embed")
    parser.add_argument("--encoder", nargs="+", default=["bow", "gru"], choices=ENCODERS)
    parser.add_argument("--captions", type=int, nargs="+", default=[30_000])
    parser.add_argument("--dim", type=int, default=DIM)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", help="for the files; default: the system's temporary one")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(_embed(Path(options.child))))
        return []
    rows: list[dict[str, Any]] = []
    captions = flickr8k_captions()
    print(f"{'case':44} {'ours':>10} {'reference':>10} {'ratio':>8}")
    for encoder in options.encoder:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            model = build(encoder, 8, Vocabulary.build(captions), dim=options.dim)
            save_model(model, Path(folder) / "model.ckpt")
            for count in options.captions:
                with open(Path(folder) / "captions.txt", "w", encoding="utf-8") as file:
                    for start in range(0, count, len(captions)):
                        file.writelines(line + "\n" for line in captions[: count - start])
                command = [sys.executable, "-m", "benchmarks.embed", "--child", folder]
                command += ["--threads", str(options.threads)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                case = f"embed {count:,} captions, {encoder}"
                unit = "captions/CPU s" if options.threads == 1 else "captions/s"
                ours, plain = count / found["seconds"], found["plain"]
                row: dict[str, Any] = {"benchmark": "embed", "case": case, "unit": unit}
                row |= {"ours": ours, "reference": plain, "ratio": ours / plain}
                note = f"peak memory {found['memory']:.0f} MB, {found['before']:.0f} MB before"
                rows.append(row | {"notes": f"reference: torch's module, batches of 128; {note}"})
                numbers = f"{ours:10.0f} {plain:10.0f} {ours / plain:8.3f}"
                print(f"{case:44} {numbers}  {unit}  {note}")
    return rows


def _embed(folder: Path) -> dict[str, float]:
    """One run of the command, in this process, and of the plain loop before it."""
    from vse_exp.embed import main as embed

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    with open(folder / "captions.txt", encoding="utf-8") as file:
        some = [line.strip() for line, _ in zip(file, range(PLAIN), strict=False)]
    model = load_file(folder / "model.ckpt").eval()
    encode_plainly(model, some[:256])
    started = clock()
    encode_plainly(model, some)
    plain = len(some) / (clock() - started)
    del model
    before = status("RssAnon")
    watch = _PeakMemory()
    sys.argv = ["vse_exp.embed", f"checkpoint={folder / 'model.ckpt'}"]
    sys.argv += [f"captions={folder / 'captions.txt'}", f"output={folder / 'vectors.npy'}"]
    started = clock()
    embed()
    seconds = clock() - started
    return {"seconds": seconds, "plain": plain, "memory": watch.stop(), "before": before}


class _PeakMemory(threading.Thread):
    """Looks ten times a second how much memory this process holds, mapped files aside."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.over = 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.peak = max(self.peak, status("RssAnon"))

    def stop(self) -> float:
        self.over.set()
        self.join()
        return max(self.peak, status("RssAnon"))


if __name__ == "__main__":
    main()
