"""The score matrix of images and captions, a block at a time in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vse_exp.progress import track
from vse_exp.similarity import Similarity

BLOCKS = {"cpu": (1024, 2048), "cuda": (4096, 16384)}
"""Images and captions of a block, by device: with their scores they nearly fill its caches."""


def score_blocks(
    similarity: Similarity,
    images: Tensor,
    captions: Tensor,
    block: tuple[int, int] | None = None,
    task: str | None = None,
) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Yield slices of the images and of the captions, their float32 scores, and a spare buffer.

    Scores and spare (rows, columns) lie in memory that the next block overwrites: memory used again
    need not be cleared by the system. `block` is the number of images and captions of a block;
    `task` names the progress bar that is shown.
    """
    rows, columns = block or BLOCKS.get(images.device.type, BLOCKS["cpu"])
    n_images, n_captions = len(images), len(captions)
    size = min(rows, n_images) * min(columns, n_captions)
    buffers = torch.empty(2, size, device=images.device)
    starts = [(i, j) for i in range(0, n_images, rows) for j in range(0, n_captions, columns)]
    for i, j in track(starts, task or "", shown=task is not None):
        some, others = slice(i, min(i + rows, n_images)), slice(j, min(j + columns, n_captions))
        shape = some.stop - i, others.stop - j
        scores, spare = (buffer[: shape[0] * shape[1]].view(shape) for buffer in buffers)
        with torch.autocast(images.device.type, enabled=False):
            similarity.block(images[some].float(), captions[others].float(), out=scores)
        yield some, others, scores, spare
