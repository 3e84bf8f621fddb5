"""Several processes see the same batch, and give the same gradient, as one."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch._dynamo  # (which DDP asks: once, where ranks are forked from)
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from commands import run_command
from conftest import WORDS, composed, write_dataset
from shards import write_shards
from text_model import write_text_model
from vse_exp.cli import config_dir
from vse_exp.losses import ContrastiveLoss, HingeLoss
from vse_exp.models.batch_norm import WholeBatchNorm
from vse_exp.models.pretrained_text import PretrainedText
from vse_exp.models.projection import Projection
from vse_exp.models.towers import of_transformers
from vse_exp.models.towers.cutting import Side
from vse_exp.text.vocabulary import TokenizedCaptions
from vse_exp.train import main
from vse_exp.training.building import build_node
from vse_exp.training.distributed import gather_ids, whole_loss
from vse_exp.training.fit import train

LOSSES = sorted(path.stem for path in (config_dir() / "loss").glob("*.yaml"))
HAS_TRANSFORMERS = importlib.util.find_spec("transformers") is not None
NAMES = [*LOSSES, *(["towers"] if HAS_TRANSFORMERS else [])]
"""Losses over two linear maps, and InfoNCE over both towers of a CLIP."""
ROWS = 7
PROGRESS = ((0, 0.0), (300, 0.5))  # a queue is full, and hardest negatives count, at the second


def make_loss(name: str) -> ContrastiveLoss:
    return build_node(composed("train", [f"loss={name}", "model.dim=5", "paths.run_dir=x"]).loss)


def make_batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    images, captions = (torch.randn(ROWS, 6, generator=random).double() for _ in range(2))
    return images, captions, torch.tensor([0, 1, 2, 3, 0, 4, 5])


def run_steps(part: slice, name: str, processes: int) -> list[tuple[Tensor, list[Tensor]]]:
    """Values and gradients of two updates, at the times of PROGRESS."""
    encoders = make_encoders(name == "towers")
    torch.manual_seed(2)
    loss = make_loss("infonce" if name == "towers" else name).double()
    parameters = [*encoders.parameters(), *loss.parameters()]
    results = []
    for progress in PROGRESS:
        loss.set_progress(*progress)
        value = step(encoders, loss, part, seed=progress[0])
        grads = [p.grad for p in parameters]
        if processes > 1:
            for grad in grads:  # DDP's average
                dist.all_reduce(grad)
                grad /= processes
        means = [buffer.clone() for buffer in encoders.buffers()]
        results.append((value, [grad.clone() for grad in grads] + means))
        encoders.zero_grad()
        loss.zero_grad()
    return results


def step(encoders: nn.ModuleList, loss: ContrastiveLoss, part: slice, seed: int) -> Tensor:
    images, captions, ids = (one[part] for one in make_batch(seed))
    embedded = [
        normalize(encoder(rows), dim=1)
        for encoder, rows in zip(encoders, (images, captions), strict=True)
    ]
    total = ROWS if seed else None  # told how large the whole batch is, or not
    if loss.taught:
        loss.learn_from(*(one[:, :4] for one in make_batch(5)[:2]))
        loss.see(gather_ids(torch.arange(ROWS)[part], total))
    value = whole_loss(loss, *embedded, ids, total)
    value.backward()
    return value.detach()


def make_encoders(towers: bool = False) -> nn.ModuleList:
    """Of images with a batch normalisation, that of torch where there is one process."""
    torch.manual_seed(1)
    if towers:
        return nn.ModuleList([ClipSide("image"), ClipSide("text")]).double()
    norm = WholeBatchNorm(5) if dist.is_initialized() else nn.BatchNorm1d(5)
    images = nn.Sequential(nn.Linear(6, 5), norm)
    return nn.ModuleList([images, nn.Linear(6, 5)]).double()


class ClipSide(nn.Module):
    """A tower of a CLIP, whose pixels or pieces are made of a batch's rows of six."""

    def __init__(self, side: Side) -> None:
        super().__init__()
        size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
                "num_attention_heads": 2}  # fmt: skip
        text = {**size, "vocab_size": 12, "max_position_embeddings": 7, "eos_token_id": 11}
        vision = {**size, "image_size": 8, "patch_size": 4}
        config = {"model_type": "clip", "text_config": text, "vision_config": vision}
        self.side: Side = side
        self.tower = of_transformers.build({**config, "projection_dim": 5}, side)

    def forward(self, rows: Tensor) -> Tensor:
        if self.side == "image":
            return of_transformers.encode_images(self.tower, rows.repeat(1, 32).view(-1, 3, 8, 8))
        pieces = nn.functional.pad((4 * rows.abs()).long().clamp(max=10), (0, 1), value=11)
        torch.set_default_dtype(rows.dtype)  # of masks in transformers 4
        try:
            return of_transformers.encode_text(self.tower, pieces, None)
        finally:
            torch.set_default_dtype(torch.float32)


def run_rank(rank: int, folder: str, names: list[str], processes: int) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=processes
    )
    part = slice(rank, None, processes)
    results = {name: run_steps(part, name, processes) for name in names}
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


def on_ranks(processes: int, function: Callable[..., None], *given: Any) -> None:
    mp.start_processes(function, given, processes, start_method="forkserver")


@pytest.fixture(scope="module", params=[2, 4])
def several(tmp_path_factory, request) -> dict[str, list[tuple[Tensor, list[Tensor]]]]:
    folder = tmp_path_factory.mktemp("ddp")
    on_ranks(request.param, run_rank, str(folder), NAMES, request.param)
    return torch.load(folder / "results.pt", weights_only=True)


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_equal_those_of_one_process(several, name):
    alone = run_steps(slice(0, ROWS), name, processes=1)
    for (value, grads), (expected, theirs) in zip(several[name], alone, strict=True):
        assert value.item() == pytest.approx(expected.item(), rel=1e-12)
        for mine, its in zip(grads, theirs, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [*LOSSES, "ncon"])
def test_the_parts_of_a_loss_add_up_to_it(name):
    """For each of four processes the value of its own pairs."""
    images, captions, ids = make_batch(3)
    images, captions = normalize(images, dim=1), normalize(captions, dim=1)
    whole, parts = 0.0, 0.0
    for own in (None, slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 7)):
        loss = HingeLoss(ncon=2) if name == "ncon" else make_loss(name).double()
        if not loss.by_rows:
            assert loss.taught
            return
        loss.set_progress(*PROGRESS[1])
        value = loss(images, captions, ids, own=own).item()
        whole, parts = (value, 0.0) if own is None else (whole, parts + value)
    assert parts == pytest.approx(whole, rel=1e-10)


def arguments(tiny: Path, run: Path, *options: str, data: str = "custom") -> list[str]:
    return [f"data={data}", "data.name=tiny", f"paths.data_dir={tiny}", f"paths.run_dir={run}",
            "model.dim=8", "trainer.accelerator=cpu", *options]  # fmt: skip


def train_on_rank(rank: int, processes: int, port: int, given: list[str]) -> None:
    """As a cluster starts the command: once a process, each told which it is."""
    torch.set_num_threads(1)
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": rank}
    os.environ.update({key: str(value) for key, value in where.items()})
    vars(rank_zero_only)["rank"] = rank  # which Lightning reads when it is imported
    sys.argv = ["vse_exp.train", *given, "trainer=ddp", f"trainer.devices={processes}"]
    main()


def free_port() -> int:
    """Below those that the system deals out, so that no connection takes it before the ranks do."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def train_on_ranks(processes: int, given: list[str]) -> None:
    on_ranks(processes, train_on_rank, processes, free_port(), given)


NO_DROPOUT = [
    f"model.{key}=0"
    for key in ("encoder.word_dropout", "image_encoder.dropout", "image_encoder.hidden_dropout")
]


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without dropout: on one process; on two by the command as a user types it, each of which
    encodes its part of the batch in chunks; on two that read their parts of one set of shards."""
    folder = tmp_path_factory.mktemp("processes")
    tiny = write_dataset(folder / "data")
    split = tiny / "tiny" / "tiny_train"
    captions = Path(f"{split}_caps.txt").read_text().splitlines()
    shards = write_shards(folder / "tar", "tar", captions, np.load(f"{split}_ims.npy"))
    same = ["model.encoder=gru", "valid_freq=5", "max_epochs=2", *NO_DROPOUT]
    train(composed("train", arguments(tiny, folder / "one", *same, "data.batch_size=8")))
    same.append("data.batch_size=4")
    ddp = ["trainer=ddp", "trainer.devices=2"]
    done = subprocess.run(
        [sys.executable, "-m", "vse_exp.train",
         *arguments(tiny, folder / "two", *same, *ddp, "chunk_size=3")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port())},
        capture_output=True, text=True, cwd=folder, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    layout = f"data.layout.train='{shards}'"
    train_on_ranks(2, arguments(tiny, folder / "shards", *same, layout, data="shards"))
    return folder


def test_a_training_on_two_processes(one_and_two):
    one = _weights(one_and_two / "one")
    for name in ("two", "shards"):
        for key, value in _weights(one_and_two / name).items():
            torch.testing.assert_close(value, one[key], rtol=1e-4, atol=1e-5)


def test_batches_of_fewer_captions_than_processes(tiny, tmp_path):
    """A process without captions takes part in the update: nothing hangs, and nothing differs."""
    options = [*NO_DROPOUT, "data.bucket_width=1", "data.captions_together=1", "loss=hinge",
               "max_epochs=1", "valid_freq=50"]  # fmt: skip
    train(composed("train", arguments(tiny, tmp_path / "1", *options, "data.batch_size=4")))
    alone = _weights(tmp_path / "1")
    for processes, size in ((2, 2), (4, 1)):
        run = tmp_path / str(processes)
        train_on_ranks(processes, arguments(tiny, run, *options, f"data.batch_size={size}"))
        for key, value in _weights(run).items():
            torch.testing.assert_close(value, alone[key], rtol=1e-4, atol=1e-5)


def test_a_run_goes_on_with_as_many_processes_only(one_and_two, tiny, tmp_path, capsys):
    last = one_and_two / "two" / "checkpoints" / "last.ckpt"
    given = arguments(tiny, tmp_path / "other", "model.encoder=gru", f"resume={last}")
    said = run_command(main, *given, capsys=capsys, code=1).err
    assert said.splitlines()[-1].startswith("error: The run was trained by 2 processes")


def start_on_rank(rank: int, processes: int, port: int, given: list[str], folder: Path) -> None:
    """The same, which notes how many rows it read before the training, and what DDP sends."""
    os.environ["VSE_CACHE_DIR"] = str(folder / "cache")
    read: Counter[str] = Counter()
    read_rows, fit_mean, send = (
        PretrainedText._read_rows, Projection.fit_mean, DistributedDataParallel._sync_buffers
    )  # fmt: skip

    def reading(self: PretrainedText, captions: TokenizedCaptions, rows: range) -> np.ndarray:
        read["captions"] += len(rows)
        return read_rows(self, captions, rows)

    def noting(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        for block in blocks:
            read[f"rows of {block.shape[-1]}"] += len(block)
            yield block

    def sending(self: DistributedDataParallel) -> None:
        read["sent"] = sum(buffer.numel() for buffer in self.modules_buffers)
        send(self)

    with (
        patch.object(PretrainedText, "_read_rows", reading),
        patch.object(Projection, "fit_mean", lambda self, rows: fit_mean(self, noting(rows))),
        patch.object(DistributedDataParallel, "_sync_buffers", sending),
        patch("vse_exp.images.features._rows_of", lambda *_: 5),
    ):
        train_on_rank(rank, processes, port, given)
    (folder / f"{rank}.json").write_text(json.dumps(read))


def test_what_comes_before_a_training_is_done_once(tiny, tmp_path, monkeypatch):
    """Two processes that start at the same time: one reads the captions, and one all images."""
    pytest.importorskip("transformers", reason="needs the extra `text`")
    text = write_text_model(tmp_path / "text", WORDS)
    options = ["model.encoder=pretrained", f"model.encoder.model={text}", "max_epochs=1",
               "model.encoder.center=true", "model.image_encoder.center=true", *NO_DROPOUT,
               "loss=structure", "teachers=frozen", "ema=0.5"]  # fmt: skip
    monkeypatch.setenv("VSE_CACHE_DIR", str(tmp_path / "alone"))
    train(composed("train", arguments(tiny, tmp_path / "1", *options, "data.batch_size=8")))
    two = arguments(tiny, tmp_path / "2", *options, "data.batch_size=4")
    on_ranks(2, start_on_rank, 2, free_port(), two, tmp_path)
    one, other = (Counter(json.loads((tmp_path / f"{n}.json").read_text())) for n in (0, 1))
    size, width = 12, 8
    images, captions = 12, 36
    assert (one[f"rows of {size}"], other[f"rows of {size}"]) == (images, 5)
    assert (one + other)["captions"] == 3 * captions  # of the three splits
    assert one["sent"] < captions * width
    alone = _weights(tmp_path / "1")
    for key, value in _weights(tmp_path / "2").items():
        torch.testing.assert_close(value, alone[key], rtol=1e-4, atol=1e-5)


def _weights(run: Path) -> dict[str, Tensor]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
