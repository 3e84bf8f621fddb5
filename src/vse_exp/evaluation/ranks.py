"""Exact ranks by counting, block by block: the full score matrix is never built.

A rank is 0-based: how many wrong items score at least as much as the right one. Ties count against
the query, so that constant embeddings rank last and not first. In annotation the right one is the
best of the image's captions, and its other captions are not wrong; and so for all that is judged
right (`Relevance`).

One float32 product of a block of images and a block of captions serves both directions. It settles
every pair that differs from the right score by more than float32's rounding can explain; the few
others are scored again in float64, so no rank depends on block sizes, kernels or device. Two scores
tie when their difference is within the rounding of float64 (about 1e-12 at 1,024 dimensions).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vse_exp.evaluation.answers import Answers, Relevance, pair_relevance
from vse_exp.evaluation.blocks import Block, in_blocks, score_blocks
from vse_exp.evaluation.exact import Pairs, Rounding, exact_pairs
from vse_exp.evaluation.rows import as_map, check_map, row_norms, rows_of_both
from vse_exp.similarity import SimilarityLike, find_similarity


def retrieval_ranks(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    similarity: SimilarityLike = "cosine",
    *,
    block: Block | None = None,
    verbose: bool = False,
) -> tuple[Tensor, Tensor]:
    """Ranks of annotation, int64 (n_images,), and of search, int64 (n_captions,), on the CPU: of
    the best right answer of each query; see `rank_answers`."""
    both = rank_answers(images, captions, caption_image, similarity, block=block, verbose=verbose)
    annotation, search = (torch.from_numpy(answers.first) for answers in both)
    return annotation, search


@torch.no_grad()
def rank_answers(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    similarity: SimilarityLike = "cosine",
    *,
    relevance: tuple[Relevance, Relevance] | None = None,
    every: bool = False,
    offsets: tuple[Tensor, Tensor] | None = None,
    block: Block | None = None,
    verbose: bool = False,
) -> tuple[Answers, Answers]:
    """Where the right answers of annotation and of search stand.

    `images` (n_images, d) and `captions` (n_captions, d) are arrays (also memory-mapped) or tensors
    on any device, where they are ranked; `caption_image` (n_captions,) is the row of each caption's
    image. `relevance`:
    all that is right in each direction; None: the pairs of that map. `every`: all right answers are
    ranked, and not the best of each query alone. `offsets`, float64 (n_captions,) and (n_images,),
    are added to the scores of gallery items (see rerank). `block` is how many images and captions
    are scored at once (None: as many as the device's memory bears), `verbose` shows progress.
    Raises UserError for NaN, Inf or overflow with the row, for an image without captions, for a map
    out of range, for sizes that do not fit.
    """
    score = find_similarity(similarity)
    images, captions = rows_of_both(images, captions)
    mapping = as_map(caption_image).to(images.device)
    check_map(images, captions, mapping, every_image=relevance is None)
    image_norms, caption_norms = row_norms(images, "Image"), row_norms(captions, "Caption")
    if relevance is None:
        for_images, for_captions = pair_relevance(mapping)
        exact = exact_pairs(score, images, captions, mapping, for_captions.query)
        right = exact[for_images.item], exact
    else:
        for_images, for_captions = (one.to(images.device) for one in relevance)
        right = (
            exact_pairs(score, images, captions, for_images.query, for_images.item),
            exact_pairs(score, images, captions, for_captions.item, for_captions.query),
        )
    rounding = Rounding.of(images, captions)
    caption_offset, image_offset = offsets or (None, None)
    bound = score.bound(image_norms, caption_norms.max())
    annotation = _Direction(for_images, right[0], every, bound, caption_offset, rounding)
    bound = score.bound(caption_norms, image_norms.max())
    search = _Direction(for_captions, right[1], every, bound, image_offset, rounding)

    def count(block: Block) -> None:
        annotation.counts.zero_()
        search.counts.zero_()
        task = "ranking" if verbose else None
        for i, j, scores, flags in score_blocks(score, images, captions, block, task):
            pairs = Pairs(score, images[i], captions[j])
            annotation.count(i, j, scores, flags, pairs.scores)
            search.count(j, i, scores.T, flags.T, lambda c, p, pairs=pairs: pairs.scores(p, c))

    in_blocks(count, images.device, block)
    own = np.arange(len(images))
    return annotation.answers(own), search.answers(mapping.cpu().numpy())


class _Direction:
    """One direction of retrieval: the right scores of each query, how many wrong ones reach them.

    `right` float64 (n,): scores of the right answers; `bound` float64 (n_queries,): the largest
    score possible; `offset` (n_gallery,) is added to the scores of gallery items.
    """

    def __init__(
        self,
        relevance: Relevance,
        right: Tensor,
        every: bool,
        bound: Tensor,
        offset: Tensor | None,
        rounding: Rounding,
    ) -> None:
        self.relevance, self.every = relevance, every
        self.offset = None if offset is None else offset.to(right)
        if self.offset is not None:
            bound = bound + self.offset.abs().max()
            right = right + self.offset[relevance.item]
        query, n_queries = relevance.query, len(bound)
        self.answers_before = _firsts(query, n_queries)
        if every:
            # of equal scores the lesser grade first, as ties count against the query
            keys = [key.cpu().numpy() for key in (relevance.grade, -right, query)]
            self.order = torch.from_numpy(np.lexsort(keys)).to(query.device)
            self.query, target = query[self.order], right[self.order]
        else:
            best = right.new_full((n_queries,), -torch.inf)
            best.scatter_reduce_(0, query, right, "amax")
            self.query, target = torch.arange(n_queries, device=query.device), best
        self.before = _firsts(self.query, n_queries)
        at = torch.from_numpy(self.before).to(self.query.device)
        self.place = torch.arange(len(self.query), device=query.device) - at[self.query]
        self.most = int(self.place.max()) + 1 if len(self.place) else 0
        bound = bound[self.query]
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
        right = self._right_answers(queries, gallery)
        kept = scores[right]
        scores[right] = -torch.inf  # what is right is not wrong
        offset = None if self.offset is None else self.offset[gallery]
        shifted = scores if offset is None else scores + offset.float()
        some = slice(int(self.before[queries.start]), int(self.before[queries.stop]))
        for place in range(self.most):
            targets, part = some, shifted
            rows = self.query[some] - queries.start
            if self.most > 1:
                targets = some.start + (self.place[some] == place).nonzero()[:, 0]
                rows = self.query[targets] - queries.start
            if len(rows) < len(scores):
                part = shifted[rows]
            self._count(targets, rows, part, flags[: len(part)], offset, exact)
        scores[right] = kept

    def _count(
        self,
        targets: slice | Tensor,
        rows: Tensor,
        scores: Tensor,
        flags: Tensor,
        offset: Tensor | None,
        exact: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Count for one target of each of the `rows` of a block, whose scores (n, n_gallery) are
        given."""
        low, high = self.low[targets, None], self.high[targets, None]
        # comparisons that yield floats, and sums of these, are vectorised where bools are not
        surely = torch.gt(scores, high, out=flags).sum(1)
        perhaps = torch.ge(scores, low, out=flags).sum(1)
        counts = surely.long()
        undecided = (surely != perhaps).nonzero()[:, 0]
        if len(undecided):
            close = scores[undecided]
            close = (close >= low[undecided]) & (close <= high[undecided])
            at, columns = close.nonzero(as_tuple=True)
            at = undecided[at]
            precise = exact(rows[at], columns)
            if offset is not None:
                precise = precise + offset[columns]
            counts.index_add_(0, at, (precise >= self.target[targets][at]).long())
        self.counts[targets] += counts

    def _right_answers(self, queries: slice, gallery: slice) -> tuple[Tensor, Tensor]:
        """Rows and columns of a block that hold right answers."""
        some = slice(
            int(self.answers_before[queries.start]), int(self.answers_before[queries.stop])
        )
        item = self.relevance.item[some] - gallery.start
        inside = ((item >= 0) & (item < gallery.stop - gallery.start)).nonzero()[:, 0]
        return (self.relevance.query[some] - queries.start)[inside], item[inside]

    def answers(self, image: np.ndarray) -> Answers:
        """The counts with the image (n_queries,) that each query belongs to."""
        query, counts = self.query.cpu().numpy(), self.counts.cpu().numpy()
        if not self.every:
            return Answers(counts, query, image)
        grade, paired = (
            part[self.order].cpu().numpy() for part in (self.relevance.grade, self.relevance.paired)
        )
        return Answers(counts, query, image, grade, paired, every=True)


def _firsts(query: Tensor, n_queries: int) -> np.ndarray:
    """Where the rows of each query begin among ascending queries, and the end, (n_queries + 1,)."""
    bounds = torch.arange(n_queries + 1, device=query.device)
    return torch.searchsorted(query, bounds).cpu().numpy()
