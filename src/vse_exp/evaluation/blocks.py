"""The score matrix of images and captions, a block at a time in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from vse_exp.device import free_memory, full_precision, smaller
from vse_exp.progress import track
from vse_exp.similarity import Similarity

Block = tuple[int, int]
"""Images and captions of a block."""
ON_CPU: Block = (1024, 2048)
"""With their scores they nearly fill its caches."""
ELSEWHERE: Block = (4096, 16384)
"""So many that what a GPU computes takes longer than starting it."""
SCORE_BYTES = 32
"""Of a score and all that is made of it at a time."""

T = TypeVar("T")


def in_blocks(work: Callable[[Block], T], device: torch.device, block: Block | None = None) -> T:
    """`work(block)` with blocks that the device's memory holds: as large as given or usual, or
    smaller ones, where that turns out to be too little."""
    rows, columns = block or (ON_CPU if device.type == "cpu" else ELSEWHERE)
    free, at_once = free_memory(device), rows
    if block is None and free is not None:
        share = free / (2 * SCORE_BYTES * rows * columns)
        at_once = max(1, int(rows * min(1.0, share**0.5)))
    return smaller(lambda n: work((n, max(1, columns * n // rows))), at_once, "rows of scores")


def score_blocks(
    similarity: Similarity,
    images: Tensor,
    captions: Tensor,
    block: Block = ON_CPU,
    task: str | None = None,
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Yield slices of the images and of the captions, their float32 scores, and a spare buffer.

    Scores are as exact as float32 has them on any device. They and the spare (rows, columns) lie in
    memory that the next block overwrites: memory used again need not be cleared by the system.
    `block` is the number of images and captions of a block (`in_blocks`); `task` names the progress
    bar that is shown.
    """
    rows, columns = block
    n_images, n_captions = len(images), len(captions)
    size = min(rows, n_images) * min(columns, n_captions)
    buffers = torch.empty(2, size, device=images.device)
    starts = [(i, j) for i in range(0, n_images, rows) for j in range(0, n_captions, columns)]
    for i, j in track(starts, task or "", shown=task is not None):
        some, others = slice(i, min(i + rows, n_images)), slice(j, min(j + columns, n_captions))
        shape = some.stop - i, others.stop - j
        scores, spare = (buffer[: shape[0] * shape[1]].view(shape) for buffer in buffers)
        with torch.autocast(images.device.type, enabled=False), full_precision():
            similarity.block(images[some].float(), captions[others].float(), out=scores)
        yield some, others, scores, spare
