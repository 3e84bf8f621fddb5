"""Batches of captions of neighbouring lengths: little padding, each caption once an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from vse_exp.errors import UserError

ORDERS = ("shuffle", "uniform", "round_robin")


class LengthBuckets(Sampler[np.ndarray]):
    """Yields a batch of caption indices (int64) at a time; all captions of a batch share a bucket.

    A bucket holds the captions of `bucket_width` neighbouring lengths (1: exactly one length;
    None: any).
    - `order="shuffle"`: buckets are dealt into batches of nearly equal size, the batches shuffled.
      A bucket of fewer captions than a batch joins the next (but those of exactly one length).
      With `unique_images` no batch holds two captions of one image, or two groups of them:
      `captions_together` of k > 1 brings those of an image into batches k at a time, neighbours
      in length where there are buckets (a group's bucket is that of its longest caption), else at
      random. Which are together is drawn anew every epoch.
    - `order="uniform"`: a random order of all captions cut into batches (the usual DataLoader);
      `drop_last` leaves the last out where it is smaller.
    - `order="round_robin"`: the original's (`HomogeneousData` in homogeneous_data.py): the lengths
      take turns in a random order and give a full batch each, or what is left of them.

    Everything follows from (seed, epoch), so a run can go on in mid-epoch. Under N processes each
    takes every N-th index of the same N times larger batches. `captions_per_image` of k draws k
    random captions an image and epoch instead of all.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        caption_image: np.ndarray,
        batch_size: int,
        *,
        bucket_width: int | None = None,
        unique_images: bool = True,
        order: str = "shuffle",
        captions_per_image: int | None = None,
        captions_together: int = 1,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if order not in ORDERS:
            raise UserError(f"Unknown data.order {order!r}: choose one of {', '.join(ORDERS)}.")
        for name, value in (
            ("batch_size", batch_size),
            ("bucket_width", bucket_width),
            ("captions_together", captions_together),
        ):
            if value is not None and value < 1:
                raise UserError(f"data.{name} is {value}, and must be at least 1.")
        if captions_per_image is not None and captions_per_image < 1:
            raise UserError(
                f"data.captions_per_epoch is {captions_per_image}: null, or at least 1."
            )
        if unique_images and order != "shuffle":
            raise UserError("data.unique_images=true needs data.order=shuffle: set one of the two.")
        if captions_together > 1 and not unique_images:
            raise UserError(
                f"data.captions_together={captions_together} is at most so many of an image in a "
                "batch, so it needs data.unique_images=true: set that, or leave it at 1."
            )
        if order == "uniform" and bucket_width is not None:
            raise UserError(
                f"data.order=uniform mixes lengths, and data.bucket_width={bucket_width} does not: "
                "set data.bucket_width=null, or data.order=shuffle."
            )
        if drop_last and order != "uniform":
            raise UserError("data.drop_last=true needs data.order=uniform: set one of the two.")
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.caption_image = np.asarray(caption_image)
        self.batch_size = batch_size
        self.bucket_width = bucket_width
        self.unique_images = unique_images
        self.order = order
        self.captions_per_image = captions_per_image
        self.captions_together = captions_together
        self.drop_last = drop_last
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.start = 0
        self._cached: tuple[int, list[np.ndarray]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next (Lightning calls this)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._batches())

    def __iter__(self) -> Iterator[np.ndarray]:
        start, self.start = self.start, 0
        for batch in self._batches()[start:]:
            yield batch[self.rank :: self.world_size]

    def size(self, number: int) -> int:
        """Captions of a batch of the epoch, of all processes together."""
        return len(self._batches()[number])

    def state_dict(self) -> dict[str, Any]:
        """Which epoch is on; the loader that iterates knows how many batches were used."""
        return {"epoch": self.epoch, "seed": self.seed}

    def _batches(self) -> list[np.ndarray]:
        """All batches of the current epoch, for all processes together."""
        if self._cached is None or self._cached[0] != self.epoch:
            random = np.random.default_rng((self.seed, self.epoch))
            drawn = random.permutation(len(self.caption_image))
            if self.captions_per_image is not None:
                drawn = drawn[_occurrence(self.caption_image[drawn]) < self.captions_per_image]
            build = {
                "shuffle": self._shuffled,
                "uniform": self._uniform,
                "round_robin": self._round_robin,
            }[self.order]
            self._cached = self.epoch, build(drawn, random)
        return self._cached[1]

    def _buckets(self, drawn: np.ndarray) -> np.ndarray:
        return (self.lengths[drawn] - 1) // (self.bucket_width or self.lengths.max(initial=1))

    def _shuffled(self, drawn: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        images = self.caption_image[drawn]
        group, bucket = self._groups(drawn, random), self._buckets(drawn)
        if self.captions_together > 1:
            longest = np.zeros_like(bucket)
            np.maximum.at(longest, group, bucket)
            bucket = longest[group]
        if self.bucket_width != 1 or self.captions_together > 1:
            bucket = _joined(bucket, self._size)
        place = random.permutation(len(drawn))[group]
        keys = [place, bucket]
        if self.unique_images:  # those of an image side by side, groups that differ in size mixed
            keys.insert(1, random.permutation(int(images.max(initial=-1)) + 1)[images])
        order = np.lexsort(keys)
        batches: list[np.ndarray] = []
        for start, end in _runs(bucket[order]):
            members = order[start:end]
            number = np.r_[0, np.cumsum(np.diff(group[members]) != 0)]
            count = min(-(-len(members) // self._size), int(number[-1]) + 1)
            if self.unique_images:
                firsts = members[np.r_[True, np.diff(number) > 0]]
                count = max(count, int(np.bincount(images[firsts]).max()))
            # dealt like cards: neighbours, so groups of one image, go to different batches
            dealt = np.argsort(number % count, kind="stable")
            sizes = np.bincount(number % count)
            batches += np.split(drawn[members[dealt]], np.cumsum(sizes)[:-1])
        return [batches[index] for index in random.permutation(len(batches))]

    def _groups(self, drawn: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The number of the group that each drawn caption is in."""
        if self.captions_together == 1:
            return np.arange(len(drawn))
        images = self.caption_image[drawn]
        by_length = self.lengths[drawn] if self.bucket_width else np.zeros(len(drawn))
        order = np.lexsort([by_length, images])
        place = np.empty(len(drawn), dtype=np.int64)
        place[order] = _occurrence(images[order])
        # the group that is smaller, where they do not come out even, is any of the image's
        sizes = np.bincount(images)
        count = -(-sizes // self.captions_together)
        smaller = random.integers(0, np.maximum(count, 1))
        missing = count * self.captions_together - sizes
        place += np.where(
            place >= (smaller + 1)[images] * self.captions_together - missing[images],
            missing[images],
            0,
        )
        return np.unique(
            images * len(drawn) + place // self.captions_together, return_inverse=True
        )[1]

    def _uniform(self, drawn: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        batches = [drawn[i : i + self._size] for i in range(0, len(drawn), self._size)]
        if not self.drop_last:
            return batches
        if len(drawn) < self._size:
            raise UserError(
                f"data.drop_last=true leaves out all {len(drawn)} captions of an epoch, fewer than "
                f"a batch of {self._size}: lower data.batch_size, or set data.drop_last=false."
            )
        return [batch for batch in batches if len(batch) == self._size]

    def _round_robin(self, drawn: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        drawn = drawn[np.argsort(self._buckets(drawn), kind="stable")]
        waiting = [drawn[start:end] for start, end in _runs(self._buckets(drawn))]
        waiting = [waiting[index] for index in random.permutation(len(waiting))]
        batches: list[np.ndarray] = []
        for turn in range(max((-(-len(members) // self._size) for members in waiting), default=0)):
            for members in waiting:
                batch = members[turn * self._size : (turn + 1) * self._size]
                if len(batch):
                    batches.append(batch)
        return batches

    @property
    def _size(self) -> int:
        """Captions of a batch, of all processes together."""
        return self.batch_size * self.world_size


def _joined(buckets: np.ndarray, size: int) -> np.ndarray:
    """The captions' buckets, renumbered: neighbours are one until they hold `size` captions."""
    number, held, joined = 0, 0, []
    for count in np.bincount(buckets).tolist():
        joined.append(number)
        held += count
        if held >= size:
            number, held = number + 1, 0
    if held:  # the longest captions join those before them
        joined = np.minimum(joined, max(number - 1, 0))
    return np.asarray(joined, dtype=np.int64)[buckets]


def _runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Where each run of equal values begins and ends."""
    if len(values) == 0:
        return []
    return list(pairwise([0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]))


def _occurrence(images: np.ndarray) -> np.ndarray:
    """For each position, how often its image stood before it: 0 for the first, 1 for the next."""
    order = np.argsort(images, kind="stable")
    grouped = images[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(images) else order
    sizes = np.diff(np.r_[starts, len(images)])
    occurrence = np.empty(len(images), dtype=np.int64)
    occurrence[order] = np.arange(len(images)) - np.repeat(starts, sizes)
    return occurrence
