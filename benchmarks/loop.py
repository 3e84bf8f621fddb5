"""The whole training loop beside the bare step: what data, clipping, Lightning and logging add.

    python -m benchmarks.loop
    python -m benchmarks.loop --encoder bow --dim-image 4096 --steps 200
    python -m benchmarks.loop --recipe          # the default recipe's loss, batch and image encoder

A real training runs, with its progress bar. After each of its batches a twin of the model makes a
bare step on the same batch: forward, loss, backward and the optimiser's fused update, on gradients
as torch keeps them. The overhead is what the median batch of the loop takes beyond the median bare
step; sparse word gradients make up for some of it. The bow rows come twice, by the dense optimiser
and by LazyAdam, which leaves word vectors alone that the batch lacks.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from hydra import initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

import vse_exp.train  # noqa: F401  (registers the resolver of conf/train.yaml)
from benchmarks.encoders import BATCH, DIM, ENCODERS, flickr8k_captions
from vse_exp.cli import composed, config_dir
from vse_exp.data.loading import PairBatch
from vse_exp.training.fit import train
from vse_exp.training.keys import Train
from vse_exp.training.module import RetrievalModule

CAPTIONS_PER_IMAGE = 5
WARM_UP = 5
HINGE = [
    "loss=hinge",
    f"data.batch_size={BATCH}",
    "data.captions_together=1",
    "model.image_encoder=linear",
    "model.image_encoder.dropout=0",
    "model.image_encoder.power=1",
    "model.image_encoder.center=false",
    "model.encoder.word_dropout=0",
]
"""The step that other programs make too; else the default recipe is trained."""


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop")
    parser.add_argument("--encoder", nargs="+", default=ENCODERS, choices=ENCODERS)
    parser.add_argument("--optimizer", nargs="+", default=["adamw", "lazy_adam"])
    parser.add_argument("--dim-image", type=int, default=1280)
    parser.add_argument("--dim", type=int, default=DIM)
    parser.add_argument("--captions", type=int, default=30_000, help="of Flickr8k")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--recipe", action="store_true", help="the default recipe")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []

    print(f"{'case':52} {'loop':>9} {'bare':>9} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), flickr8k_captions()[: options.captions], options.dim_image)
        for encoder in options.encoder:
            # the lazy optimiser differs where only bow's words are most of the parameters
            for optimizer in options.optimizer if encoder == "bow" else options.optimizer[:1]:
                recipe = [] if options.recipe else HINGE
                turns = run(Path(folder), encoder, optimizer, options.dim, options.steps, recipe)
                loop, bare = (1e3 * median(times) for times in turns.times())
                case = f"loop {encoder}, {optimizer}, {options.dim_image}-d images"
                unit = "CPU ms" if options.threads == 1 else "ms"
                ratio, share = loop / bare, 1e-3 * options.steps
                note = "default recipe" if options.recipe else f"hinge, {BATCH}"
                note += f"; {turns.captions / (share * loop):.0f} captions/s"
                row = {"benchmark": "loop", "case": case, "ours": loop, "reference": bare}
                rows.append(row | {"ratio": ratio, "unit": unit, "notes": note})
                print(f"{case:52} {loop:9.2f} {bare:9.2f} {ratio:8.3f}  {unit}  {note}")
    return rows


def write_dataset(root: Path, captions: list[str], dim_image: int) -> None:
    """The data set `speed`: these captions for training, and random features."""
    (root / "speed").mkdir()
    random = np.random.default_rng(0)
    for split, some in {"train": captions, "dev": captions[:50], "test": captions[:50]}.items():
        features = random.standard_normal((len(some) // CAPTIONS_PER_IMAGE, dim_image))
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        np.save(root / "speed" / f"speed_{split}_ims.npy", features.astype(np.float32))
        lines = "\n".join(some[: len(features) * CAPTIONS_PER_IMAGE]) + "\n"
        (root / "speed" / f"speed_{split}_caps.txt").write_text(lines, encoding="utf-8")


class Done(Exception):
    """Enough batches were timed."""


class Turns(Callback):
    """Times each batch of the loop, and after it a bare step of a twin on the same batch."""

    latest: Turns

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.loop: list[float] = []
        self.bare: list[float] = []
        self.captions = 0
        self.clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        self.twin: Any = None
        self.resumed = 0.0
        Turns.latest = self

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
    ) -> None:
        self.loop.append(self.clock() - self.resumed)
        assert isinstance(pl_module, RetrievalModule)
        if self.twin is None:
            self.twin = copy.deepcopy(pl_module.model).train()
            self.loss = copy.deepcopy(pl_module.loss)
            for part in self.twin.modules():
                if isinstance(part, nn.Embedding):
                    part.sparse = False  # unless the optimiser asks for it
            self.optimizer = pl_module.optimizer_factory(nn.ModuleList([self.twin, self.loss]))
        started = self.clock()
        self.optimizer.zero_grad()
        captions = self.twin.embed_captions(batch.tokens, batch.lengths)
        images = self.twin.embed_images(batch.images)
        self.loss(images, captions, batch.image_index).backward()
        self.optimizer.step()
        self.bare.append(self.clock() - started)
        if len(self.loop) > WARM_UP:
            self.captions += len(batch.tokens)
        if len(self.loop) == self.steps + WARM_UP:
            raise Done
        self.resumed = self.clock()

    def times(self) -> tuple[list[float], list[float]]:
        """Seconds of the loop's batches, and of bare steps, after warming up."""
        return self.loop[WARM_UP:], self.bare[WARM_UP:]


def run(
    folder: Path, encoder: str, optimizer: str, dim: int, steps: int, overrides: list[str]
) -> Turns:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = composed(
            "train",
            Train,
            [
                "data=custom",
                "data.name=speed",
                f"paths.data_dir={folder}",
                f"paths.run_dir={folder / 'run'}",
                f"model.encoder={encoder}",
                f"model.dim={dim}",
                f"optimizer={optimizer}",
                "scheduler=constant",
                "valid_freq=1000000",
                "resume=never",
                "progress=true",
                "trainer.accelerator=cpu",
                "+callbacks.turns._target_=benchmarks.loop.Turns",
                f"+callbacks.turns.steps={steps}",
                *overrides,
            ],
        )
    from benchmarks import loop  # the module that Hydra finds is not __main__

    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(nothing),
        contextlib.suppress(loop.Done),
    ):
        train(cfg)
    return loop.Turns.latest


if __name__ == "__main__":
    main()
