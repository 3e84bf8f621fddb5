"""Training batches out of pools, more than memory holds: each process and worker has pools of its
own, and where each stands is known after every batch, so that a training goes on exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from vse_exp.data.dealing import Dealer
from vse_exp.data.layout import Pools
from vse_exp.data.layouts import Split
from vse_exp.data.loading import PairBatch, loader_options
from vse_exp.errors import UserError
from vse_exp.text.vocabulary import TokenizedCaptions

Position = tuple[int, int]
"""A pool and the next of its batches."""


@dataclass
class _Streams(IterableDataset):
    """The batches of this process from `positions` on, each with its stream and the place behind.

    Stream s of n takes the pools s, s + n, s + 2n, …, and a worker works for one. Where a pass is
    one pool (`shared`) there is one stream, of which a worker makes every n-th batch.
    """

    pools: Pools
    deal: Dealer
    positions: dict[int, Position]
    stride: int
    first: int
    """The place among this process's streams of the one that comes next."""

    @property
    def shared(self) -> bool:
        return self.pools.count == 1

    def __iter__(self) -> Iterator[tuple[PairBatch, int, Position]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        streams = sorted(self.positions)
        own = 0 if self.shared else (worker + self.first) % len(streams)
        walk = self._walk(self.positions[streams[own]])
        for turn, (make, position) in enumerate(walk):
            if not self.shared or turn % workers == worker:
                yield make(), streams[own], position

    def _walk(self, position: Position) -> Iterator[tuple[Callable[[], PairBatch], Position]]:
        number, start = position
        while True:
            pool = self.pools.read(number)
            pairs, sampler = self.deal(pool)
            sampler.set_epoch(number)
            batches = list(sampler)
            for at in range(start, len(batches)):
                whole = at + 1 == len(batches)
                behind = (number + self.stride, 0) if whole else (number, at + 1)
                yield _Maker(pool, pairs, batches[at]), behind
            number, start = number + self.stride, 0


@dataclass
class _Maker:
    """A batch that is read when it is called for."""

    pool: Split
    pairs: Any
    captions: np.ndarray

    def __call__(self) -> PairBatch:
        batch: PairBatch = self.pairs[self.captions]
        assert self.pool.image_numbers is not None
        numbers = torch.from_numpy(self.pool.image_numbers)[batch.image_index]
        return batch._replace(image_index=numbers)


@dataclass
class StreamLoader:
    """What Lightning takes for a DataLoader: `steps` batches an epoch, going on where the last one
    ended, with a state from which it goes on exactly (Lightning's Stateful protocol)."""

    pools: Pools
    deal: Dealer
    steps: int
    rank: int = 0
    world_size: int = 1
    num_workers: int = 0
    step: int = field(default=0, init=False)
    """Batches of this epoch that were used."""
    turn: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.pools.count == 1:
            self.stride, own = 1, range(1)
        else:
            each = max(1, self.num_workers)
            self.stride = each * self.world_size
            own = range(self.rank * each, (self.rank + 1) * each)
        self.positions: dict[int, Position] = {stream: (stream, 0) for stream in own}

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[PairBatch]:
        self.step %= self.steps
        streams = _Streams(self.pools, self.deal, dict(self.positions), self.stride, self.turn)
        loader = DataLoader(streams, batch_size=None, **loader_options(self.num_workers))
        for batch, stream, position in loader:
            self.positions[stream] = position
            self.turn = (self.turn + 1) % len(self.positions)
            self.step += 1
            yield batch
            if self.step >= self.steps:
                return

    def state_dict(self) -> dict[str, Any]:
        """Where all processes stand; to be asked for in all of them together."""
        positions = dict(self.positions)
        if self.pools.count > 1 and dist.is_available() and dist.is_initialized():
            parts: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(parts, positions)
            positions = {stream: place for part in parts for stream, place in part.items()}
        return {
            "step": self.step,
            "turn": self.turn,
            "processes": self.world_size,
            "streams": {str(stream): list(place) for stream, place in positions.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on behind the given position. UserError where the pools were shared otherwise."""
        before = {int(stream): place for stream, place in state["streams"].items()}
        processes = state["processes"]
        if (
            processes != self.world_size
            or not self.positions.keys() <= before.keys()
            or (self.pools.count > 1 and len(before) != self.stride)
        ):
            raise UserError(
                f"The run was trained by {processes} processes that read {len(before)} streams of "
                f"shards, and would go on with {self.world_size} and {self.stride}: set "
                "trainer.devices and data.num_workers as before, or resume=never."
            )
        self.positions = {stream: tuple(before[stream]) for stream in self.positions}
        self.step, self.turn = state["step"], state["turn"]


def stream_loader(
    pools: Pools, deal: Dealer, num_workers: int, captions: TokenizedCaptions | None = None
) -> StreamLoader:
    """The loader of an epoch of `steps_per_epoch` updates, else of about a pass over the data.

    `captions`: those of the sample as ids, where they are at hand.
    """
    rank, world_size = deal.rank, deal.world_size
    if pools.count > 1:  # each process has pools of its own
        deal = replace(deal, rank=0, world_size=1)
    steps = deal.config.get("steps_per_epoch")
    if steps is None:
        sample = pools.sample()
        _, sampler = deal(sample, captions)
        steps = len(sampler)
        if pools.count > 1:
            drawn = sum(map(len, sampler)) * pools.n_images / len(sample.image_features)
            steps = max(1, round(drawn / (deal.config["batch_size"] * world_size)))
    return StreamLoader(pools, deal, steps, rank, world_size, num_workers)
