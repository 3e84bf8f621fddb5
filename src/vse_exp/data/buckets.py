"""Batches of captions of one length: no padding, no mask, each caption once an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from vse_exp.errors import UserError

ORDERS = ("shuffle", "round_robin")
BUCKET_WIDTH = 8
"""Of `bucket_width` None."""


class LengthBuckets(Sampler[np.ndarray]):
    """Yields a batch of caption indices (int64) at a time; all captions of a batch share a bucket.

    A bucket holds the captions of `bucket_width` neighbouring lengths (1: exactly one length;
    None: `BUCKET_WIDTH`).
    `order="shuffle"`: buckets are dealt into batches of nearly equal size, the batches shuffled;
    with `unique_images` no batch holds two captions of one image. `order="round_robin"`: the
    original's (`HomogeneousData` in homogeneous_data.py): the lengths take turns in a random order
    and give a full batch each, or what is left of them.

    Everything follows from (seed, epoch), so a run can go on in mid-epoch. Under N processes each
    takes every N-th index of the same N times larger batches. `captions_per_image` of k draws k
    random captions an image and epoch instead of all.

    `captions_together` of k > 1: captions of an image come k at a time, other ones every epoch, and
    never more of it in a batch; lengths are then mixed (`bucket_width` is None), and batches nearly
    of equal size.
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
        if captions_together > 1 and bucket_width is not None:
            raise UserError(
                f"data.bucket_width={bucket_width} brings captions of like lengths together, and "
                f"data.captions_together={captions_together} those of an image: set "
                "data.captions_together=1, or leave data.bucket_width=null."
            )
        self.buckets = (np.asarray(lengths) - 1) // (bucket_width or BUCKET_WIDTH)
        self.caption_image = np.asarray(caption_image)
        self.batch_size = batch_size
        self.unique_images = unique_images
        self.order = order
        self.captions_per_image = captions_per_image
        self.captions_together = captions_together
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

    def state_dict(self) -> dict[str, Any]:
        """Which epoch is on; the loader that iterates knows how many batches were used."""
        return {"epoch": self.epoch, "seed": self.seed}

    def _batches(self) -> list[np.ndarray]:
        """All batches of the current epoch, for all processes together."""
        if self._cached is None or self._cached[0] != self.epoch:
            random = np.random.default_rng((self.seed, self.epoch))
            if self.captions_together > 1:
                build = self._together
            else:
                build = self._shuffled if self.order == "shuffle" else self._round_robin
            self._cached = self.epoch, build(random)
        return self._cached[1]

    def _members(self, random: np.random.Generator) -> list[np.ndarray]:
        """Caption indices of each bucket, those of an image side by side, images in random order.

        Without `unique_images` the order is entirely random.
        """
        drawn = self._drawn(random)
        keys = [self.buckets[drawn]]
        if self.unique_images:
            keys.insert(0, self._image_order(random)[self.caption_image[drawn]])
        drawn = drawn[np.lexsort(keys)]
        cuts = np.flatnonzero(np.diff(self.buckets[drawn])) + 1
        return np.split(drawn, cuts) if len(drawn) else []

    def _drawn(self, random: np.random.Generator) -> np.ndarray:
        """The epoch's captions in random order."""
        drawn = random.permutation(len(self.caption_image))
        if self.captions_per_image is not None:
            drawn = drawn[_occurrence(self.caption_image[drawn]) < self.captions_per_image]
        return drawn

    def _image_order(self, random: np.random.Generator) -> np.ndarray:
        """For each image a random place."""
        return random.permutation(int(self.caption_image.max(initial=-1)) + 1)

    def _together(self, random: np.random.Generator) -> list[np.ndarray]:
        drawn = self._drawn(random)
        if len(drawn) == 0:
            return []
        images = self.caption_image[drawn]
        turns = _occurrence(images) // self.captions_together
        _, group = np.unique(images * len(drawn) + turns, return_inverse=True)
        # those of an image side by side, in random order since the last may be smaller
        place = random.permutation(int(group.max()) + 1)[group]
        order = np.lexsort([place, self._image_order(random)[images]])
        number = np.r_[0, np.cumsum(np.diff(group[order]) != 0)]
        count = -(-len(drawn) // (self.batch_size * self.world_size))
        count = max(count, int(turns.max()) + 1)
        dealt = number % count  # like cards
        by_batch = drawn[order[np.argsort(dealt, kind="stable")]]
        batches = np.split(by_batch, np.cumsum(np.bincount(dealt, minlength=count))[:-1])
        return [batches[index] for index in random.permutation(count)]

    def _shuffled(self, random: np.random.Generator) -> list[np.ndarray]:
        size = self.batch_size * self.world_size
        batches: list[np.ndarray] = []
        for members in self._members(random):
            count = -(-len(members) // size)
            if self.unique_images:
                images = self.caption_image[members]
                count = max(count, int(np.bincount(images).max()))
            # dealt like cards: neighbours, so captions of one image, go to different batches
            batches += [members[start::count] for start in range(count)]
        return [batches[index] for index in random.permutation(len(batches))]

    def _round_robin(self, random: np.random.Generator) -> list[np.ndarray]:
        size = self.batch_size * self.world_size
        waiting = self._members(random)
        waiting = [waiting[index] for index in random.permutation(len(waiting))]
        batches: list[np.ndarray] = []
        for turn in range(max((-(-len(members) // size) for members in waiting), default=0)):
            for members in waiting:
                batch = members[turn * size : (turn + 1) * size]
                if len(batch):
                    batches.append(batch)
        return batches


def _occurrence(images: np.ndarray) -> np.ndarray:
    """For each position, how often its image stood before it: 0 for the first, 1 for the next."""
    order = np.argsort(images, kind="stable")
    grouped = images[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(images) else order
    sizes = np.diff(np.r_[starts, len(images)])
    occurrence = np.empty(len(images), dtype=np.int64)
    occurrence[order] = np.arange(len(images)) - np.repeat(starts, sizes)
    return occurrence
