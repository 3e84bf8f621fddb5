"""Exact ranks by counting, block by block: the full score matrix is never built.

A rank is 0-based: how many wrong items score at least as much as the right one. Ties count against
the query, so that constant embeddings rank last and not first. In annotation the right one is the
best of the image's captions, and its other captions are not wrong.

One float32 product of a block of images and a block of captions serves both directions. It settles
every pair that differs from the right score by more than float32's rounding can explain; the few
others are scored again in float64, so no rank depends on block sizes, kernels or device. Two scores
tie when their difference is within the rounding of float64 (about 1e-12 at 1,024 dimensions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.evaluation.blocks import score_blocks
from vse_exp.evaluation.rows import as_map, as_rows, check_map, row_norms
from vse_exp.similarity import Similarity, find_similarity

PAIRED_ELEMENTS = {"cpu": 1 << 15, "cuda": 1 << 24}
"""Elements of the rows whose pairs are scored at once in float64, by device."""


@contextmanager
def _full_precision() -> Iterator[None]:
    """Products as exact as float32 has them; coarser ones leave many more pairs undecided."""
    before = _precision()
    if before in (None, "highest"):  # None: set for each backend, and left as it is
        yield
        return
    backends = (torch.backends.cuda, torch.backends.mkldnn)
    products = [getattr(backend, "matmul", None) for backend in backends]
    parts: list[Any] = [part for part in products if hasattr(part, "fp32_precision")]  # torch 2.9
    by_part = [part.fp32_precision for part in parts]
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        for part, precision in zip(parts, by_part, strict=True):
            part.fp32_precision = precision


def _precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


@torch.no_grad()
@_full_precision()
def retrieval_ranks(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    similarity: str = "cosine",
    *,
    caption_offset: Tensor | None = None,
    image_offset: Tensor | None = None,
    block: tuple[int, int] | None = None,
    verbose: bool = False,
) -> tuple[Tensor, Tensor]:
    """Ranks of annotation, int64 (n_images,), and of search, int64 (n_captions,), on the CPU.

    `images` (n_images, d) and `captions` (n_captions, d) are arrays (also memory-mapped) or tensors
    on any device; `caption_image` (n_captions,) is the row of each caption's image. The offsets
    float64 (n_captions,) and (n_images,) are added to the scores of gallery items (see rerank).
    `block` is how many images and captions are scored at once, `verbose` shows progress.
    Raises UserError for NaN, Inf or overflow with the row, for an image without captions, for a map
    out of range, for sizes that do not fit.
    """
    score = find_similarity(similarity)
    images = as_rows(images, "images")
    captions = as_rows(captions, "captions").to(images.device)
    mapping = as_map(caption_image).to(images.device)
    check_map(images, captions, mapping)
    image_norms, caption_norms = row_norms(images, "Image"), row_norms(captions, "Caption")
    n_images, n_captions = len(images), len(captions)

    everyone = torch.arange(n_captions, device=images.device)
    right = _exact_pairs(score, images, captions, mapping, everyone)
    as_caption = right if caption_offset is None else right + caption_offset.to(right)
    best = right.new_full((n_images,), -torch.inf)
    best.scatter_reduce_(0, mapping, as_caption, "amax")
    as_image = right if image_offset is None else right + image_offset.to(right)[mapping]
    rounding = _Rounding.of(images, captions)
    annotation = _Direction(
        best, score.bound(image_norms, caption_norms.max()), caption_offset, rounding
    )
    search = _Direction(
        as_image, score.bound(caption_norms, image_norms.max()), image_offset, rounding
    )

    task = "ranking" if verbose else None
    for i, j, scores, flags in score_blocks(score, images, captions, block, task):
        # the query's own pairs are not wrong
        own = mapping[j] - i.start
        inside = ((own >= 0) & (own < len(scores))).nonzero()[:, 0]
        scores[own[inside], inside] = -torch.inf

        pairs = _Pairs(score, images[i], captions[j])
        annotation.count(i, j, scores, flags, pairs.scores)
        search.count(j, i, scores.T, flags.T, lambda c, p, pairs=pairs: pairs.scores(p, c))
    return annotation.counts.cpu(), search.counts.cpu()


class _Direction:
    """One direction of retrieval: the right score of each query, and how many wrong ones reach it.

    `target` float64 (n_queries,): right scores; `bound` float64 (n_queries,): the largest score
    possible; `offset` (n_gallery,) is added to the scores of gallery items.
    """

    def __init__(
        self, target: Tensor, bound: Tensor, offset: Tensor | None, rounding: _Rounding
    ) -> None:
        self.offset = None if offset is None else offset.to(target)
        if self.offset is not None:
            bound = bound + self.offset.abs().max()
        # what ties in exact arithmetic differs by this in float64, in whatever order it is added
        self.target = target - rounding.float64 * bound
        tolerance = rounding.float32 * bound + 2.0**-22 * target.abs() + rounding.underflow
        self.low = (target - tolerance).float()
        self.high = (target + tolerance).float()
        self.counts = torch.zeros(len(target), dtype=torch.int64, device=target.device)

    def count(
        self,
        queries: slice,
        gallery: slice,
        scores: Tensor,
        flags: Tensor,
        exact: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Add the wrong items of a block of `scores` (n_queries, n_gallery) to the counts.

        `flags` is a buffer of the same shape; `exact` gives the float64 scores of rows, columns.
        """
        offset = None if self.offset is None else self.offset[gallery]
        if offset is not None:
            scores = scores + offset.float()
        low, high = self.low[queries, None], self.high[queries, None]
        # comparisons that yield floats, and sums of these, are vectorised where bools are not
        surely = torch.gt(scores, high, out=flags).sum(1)
        perhaps = torch.ge(scores, low, out=flags).sum(1)
        counts = self.counts[queries]
        counts += surely.long()
        undecided = (surely != perhaps).nonzero()[:, 0]
        if not len(undecided):
            return
        close = scores[undecided]
        close = (close >= low[undecided]) & (close <= high[undecided])
        rows, columns = close.nonzero(as_tuple=True)
        rows = undecided[rows]
        precise = exact(rows, columns)
        if offset is not None:
            precise = precise + offset[columns]
        counts.index_add_(0, rows, (precise >= self.target[queries][rows]).long())


@dataclass(frozen=True)
class _Pairs:
    """Float64 scores of chosen pairs of a block of images and captions."""

    similarity: Similarity
    images: Tensor
    captions: Tensor

    def scores(self, i: Tensor, j: Tensor) -> Tensor:
        """Scores (n,) of the pairs of rows `i` of the images and `j` of the captions."""
        size = len(self.images), len(self.captions)
        if 64 * len(i) < size[0] * size[1]:
            return _exact_pairs(self.similarity, self.images, self.captions, i, j)
        # many, as where embeddings have collapsed: one product is cheaper than its pairs
        out = self.images.new_empty(size, dtype=torch.float64)
        return self.similarity.block(self.images.double(), self.captions.double(), out)[i, j]


def _exact_pairs(
    similarity: Similarity, images: Tensor, captions: Tensor, i: Tensor, j: Tensor
) -> Tensor:
    """Float64 scores (n,) of the pairs of rows `i` of `images` and `j` of `captions`."""
    # on a CPU few enough that torch does not split them among threads, which would wait more
    step = max(
        1, PAIRED_ELEMENTS.get(images.device.type, PAIRED_ELEMENTS["cpu"]) // images.shape[1]
    )
    scores = [
        similarity.pairs(images[some].double(), captions[others].double())
        for some, others in zip(i.split(step), j.split(step), strict=True)
    ]
    return torch.cat(scores)


@dataclass(frozen=True)
class _Rounding:
    """How far computed scores may be from exact ones, relative to the largest score possible.

    A sum of n products is off by n times the unit roundoff at most, in whatever order it is added
    up (Higham 2002, section 3.1); some more for the rounding of inputs, offsets and thresholds.
    """

    float32: float
    float64: float
    underflow: float

    @classmethod
    def of(cls, images: Tensor, captions: Tensor) -> _Rounding:
        """That of products of these rows in float32, or in bfloat16 where that may be set."""
        inputs = 0.0 if _precision() == "highest" else 2.0**-7
        if not {images.dtype, captions.dtype} <= {torch.float32, torch.float16, torch.bfloat16}:
            inputs += 2.0**-24
        terms = images.shape[1] + 16
        return cls(1.01 * terms * 2.0**-24 + 2 * inputs, terms * 2.0**-52, terms * 2.0**-126)
