"""Batches out of a split: indices in, tensors out, by array indexing alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vse_exp.data.buckets import LengthBuckets
from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.images.rows import Images
from vse_exp.text.vocabulary import TokenizedCaptions


class PairBatch(NamedTuple):
    """Captions and their images, row by row: a training batch.

    `tokens` (B, T) int64; `lengths` (B,) or None where all are T long; `images` (B, dim_image);
    `caption_index` and `image_index` (B,) int64. Where images are pictures, which cost more than
    captions, `images` holds each of them once (in each process) and `image_row` (B,) the one of
    each caption. Until a training batch has arrived on its device (`Images.arrived`), `images` are
    features as stored, or the numbers of rows that lie there. A process whose share of the batch is
    empty is given one pair without indices.
    """

    tokens: Tensor
    lengths: Tensor | None
    images: Tensor
    caption_index: Tensor
    image_index: Tensor
    image_row: Tensor | None = None
    total: int | None = None
    """Pairs of the whole batch, of all processes together; None where that is not known."""


class ImageBatch(NamedTuple):
    """Images alone, each of a split once: `images` (B, …), `image_index` (B,) int64."""

    images: Tensor
    image_index: Tensor


class CaptionBatch(NamedTuple):
    """Captions alone, for evaluation; the fields are those of PairBatch."""

    tokens: Tensor
    lengths: Tensor | None
    caption_index: Tensor
    image_index: Tensor


class Captions(Dataset[CaptionBatch]):
    """Captions by their rows, each with its image's."""

    def __init__(self, captions: TokenizedCaptions, caption_image: np.ndarray) -> None:
        self.captions = captions
        self.caption_image = caption_image

    def __getitem__(self, indices: np.ndarray) -> CaptionBatch:
        tokens, lengths = self.captions.batch(indices)
        images = torch.from_numpy(self.caption_image[indices])
        return CaptionBatch(tokens, lengths, torch.from_numpy(indices), images)


class _Images(Dataset[ImageBatch]):
    def __init__(self, images: Images) -> None:
        self.images = images

    def __getitem__(self, indices: np.ndarray) -> ImageBatch:
        return ImageBatch(self.images.rows(indices), torch.from_numpy(indices))


class Pairs(Dataset[PairBatch]):
    """Captions by their rows, with their images."""

    def __init__(self, captions: Captions, images: Images) -> None:
        self.captions = captions
        self.images = images

    def __getitem__(self, indices: np.ndarray) -> PairBatch:
        if len(indices) == 0:  # fewer captions than processes: all take part in the update
            alone = self[np.zeros(1, dtype=np.int64)]
            nothing = alone.caption_index[:0]
            return alone._replace(caption_index=nothing, image_index=nothing)
        tokens, lengths, caption_index, image_index = self.captions[indices]
        if not self.images.once_a_batch:
            images = self.images.rows(image_index.numpy())
            return PairBatch(tokens, lengths, images, caption_index, image_index)
        # in the order of the captions, since pictures are augmented by what is asked for together
        wanted, first, row = np.unique(image_index, return_index=True, return_inverse=True)
        order = np.argsort(first)
        images = self.images.rows(wanted[order])
        row = torch.from_numpy(np.argsort(order)[row])
        return PairBatch(tokens, lengths, images, caption_index, image_index, row)


class ResumableLoader(DataLoader):
    """A DataLoader over LengthBuckets that can go on in mid-epoch (Lightning's Stateful protocol).

    What was fetched ahead by workers does not count: the position is that of the batches used.
    """

    def __init__(self, dataset: Dataset, sampler: LengthBuckets, **options: Any) -> None:
        stay = bool(options.get("num_workers"))  # workers are told which captions, epoch by epoch
        super().__init__(
            dataset, batch_size=None, sampler=sampler, persistent_workers=stay, **options
        )
        self.buckets = sampler
        self._position = 0

    # torch declares its private iterator here
    def __iter__(self) -> Iterator[PairBatch]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._position = self.buckets.start
        for batch in super().__iter__():
            total = self.buckets.size(self._position)
            self._position += 1
            yield batch._replace(total=total)

    def state_dict(self) -> dict[str, int]:
        buckets = self.buckets
        return {
            "epoch": buckets.epoch,
            "position": self._position,
            "processes": buckets.world_size,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on behind the given position: in its epoch, or at the start of the next.

        UserError where another number of processes shared the batches.
        """
        now = self.buckets.world_size
        before = state.get("processes", now)
        if before != now:
            raise UserError(
                f"The run was trained by {before} processes and would go on with {now}, which "
                "would repeat some captions and lose others: set trainer.devices (and "
                "trainer.num_nodes) as before, or train anew with resume=never."
            )
        self.buckets.set_epoch(state["epoch"])
        self.buckets.start = state["position"]
        if state["position"] >= len(self.buckets):
            self.buckets.set_epoch(state["epoch"] + 1)
            self.buckets.start = 0


def pair_loader(
    split: Split, captions: TokenizedCaptions, sampler: LengthBuckets, num_workers: int = 0
) -> ResumableLoader:
    """A training loader. `sampler` indexes the captions of `split`, tokenised in `captions`."""
    pairs = Pairs(Captions(captions, split.caption_image), split.image_features)
    return ResumableLoader(pairs, sampler, **loader_options(num_workers))


def image_loader(
    split: Split, batch_size: int, rank: int = 0, world_size: int = 1, num_workers: int = 0
) -> DataLoader[ImageBatch]:
    """Each image of a split once, shared among the processes without overlap."""
    rows = np.arange(rank, len(split.image_features), world_size)
    # as many batches in each process, the last of which may be empty
    most = -(-len(split.image_features) // world_size)
    batches = [rows[start : start + batch_size] for start in range(0, most, batch_size)]
    images = _Images(split.image_features)
    return DataLoader(images, batch_size=None, sampler=batches, **loader_options(num_workers))


def caption_loader(
    split: Split,
    captions: TokenizedCaptions,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[CaptionBatch]:
    """Each caption of a split once, in batches of one length, shared among the processes."""
    buckets = LengthBuckets(
        captions.lengths,
        split.caption_image,
        batch_size,
        bucket_width=1,
        unique_images=False,
        rank=rank,
        world_size=world_size,
    )
    return DataLoader(
        Captions(captions, split.caption_image),
        batch_size=None,
        sampler=list(buckets),  # the same for every evaluation
        **loader_options(num_workers=0),
    )


def loader_options(num_workers: int) -> dict[str, Any]:
    return {
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
        # of its own: an iterator draws a seed, which must not move the generator of the training
        "generator": torch.Generator(),
    }
