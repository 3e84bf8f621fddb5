"""Exact search by inner product: a few large matrix products, and little else.

The gallery is read once for all queries, in blocks of rows, so that it may be a memory map larger
than memory. Of each block only the best candidates are kept: the items of a block are dealt into
groups, and the `k` best lie in the `k` groups with the largest maxima. Finding these is one
vectorised pass over the scores, where a selection among all of them would cost as much as the
product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vse_exp.device import full_precision, smaller
from vse_exp.errors import UserError
from vse_exp.evaluation.rows import as_rows
from vse_exp.evaluation.topk import TopK
from vse_exp.progress import track

BLOCK_SCORES = 1 << 23
"""Scores held at once (32 MB)."""
BLOCK_QUERIES = 256
"""Queries of one product; more gain nothing."""
BLOCK_ROWS = 1 << 17
"""Rows of the gallery in one product."""
CONVERTED_ROWS = 1 << 10
"""Rows of other number types that are turned into float32 at once: they stay in the cache."""
GROUP = 32
"""Items of a group."""


class Hits(NamedTuple):
    """The best items of each query, best first: `scores` float32 (n_queries, k), `items` int64
    (n_queries, k) rows of the gallery."""

    scores: np.ndarray
    items: np.ndarray


@torch.no_grad()
def search(queries: Any, gallery: Any, k: int, verbose: bool = False) -> Hits:
    """The `k` rows of `gallery` (n, d) with the largest inner products with each query (n_queries,
    d).

    Both are arrays or tensors, on any device: of a gallery on the CPU blocks are brought to the
    queries. The gallery may be memory-mapped, and of float16. `k` above n is
    cut. Of items with equal scores the lower row stands first; which of those that are equal at the
    k-th place come in is not defined. Raises UserError for sizes that do not fit and for queries
    that are not finite.
    """
    queries = as_rows(queries, "queries").float()
    gallery = as_rows(gallery, "gallery's rows")
    if gallery.device.type != "cpu":
        queries = queries.to(gallery.device)
    if queries.shape[1] != gallery.shape[1]:
        raise UserError(
            f"The queries have {queries.shape[1]} dimensions and the gallery {gallery.shape[1]}: "
            "use embeddings of one model."
        )
    if not bool(queries.isfinite().all()):
        raise UserError("A query holds NaN or Inf: it cannot be searched with.")
    if k < 1:
        raise UserError(f"k is {k}: ask for at least one item.")
    k = min(k, len(gallery))
    widest = min(BLOCK_QUERIES, len(queries))

    def find(rows: int) -> list[_Best]:
        best = [_Best(part, k) for part in queries.split(BLOCK_QUERIES)]
        product = _Product(rows, widest, queries.device)
        for start in track(range(0, len(gallery), rows), "searching", verbose):
            block = gallery[start : start + rows].to(queries.device)
            with full_precision():
                for part in best:
                    part.take(product(block, part.queries), start)
        return best

    best = smaller(find, min(BLOCK_ROWS, len(gallery), BLOCK_SCORES // widest), "gallery's rows")
    return Hits(
        *(np.concatenate(parts) for parts in zip(*(part.sorted() for part in best), strict=True))
    )


def best_of(found: Sequence[Hits], sizes: Sequence[int], k: int) -> Hits:
    """The `k` best of what was found in galleries of `sizes` items, numbered on from one to the
    next. Of equal scores the lower item stands first; -1 marks an item that is none."""
    if len(found) == 1:
        return found[0]
    starts = np.cumsum([0, *sizes[:-1]])
    items = [np.where(h.items < 0, -1, h.items + s) for h, s in zip(found, starts, strict=True)]
    scores = np.concatenate([hits.scores for hits in found], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    every = np.concatenate(items, axis=1)
    return Hits(np.take_along_axis(scores, order, 1), np.take_along_axis(every, order, 1))


class _Product:
    """Scores (rows, n_queries) of gallery rows, in a buffer that the next product overwrites."""

    def __init__(self, rows: int, n_queries: int, device: torch.device) -> None:
        self.buffer = torch.empty(rows * n_queries, device=device)
        self.device = device

    def __call__(self, rows: Tensor, queries: Tensor) -> Tensor:
        # items by queries: a tall product is faster than a wide one where queries are few
        out = self.buffer[: len(rows) * len(queries)].view(len(rows), len(queries))
        if self.device.type != "cpu":
            return torch.mm(rows.float(), queries.T, out=out)
        if rows.dtype == torch.float32:
            if len(queries) > 1:
                return torch.mm(rows, queries.T, out=out)
            # of a product with one vector BLAS makes no use of several threads, of several it does
            pieces = torch.get_num_threads()
            even = len(rows) // pieces * pieces
            shares = rows[:even].unflatten(0, (pieces, -1))
            column = queries.T.expand(pieces, -1, 1)
            torch.bmm(shares, column, out=out[:even].unflatten(0, (pieces, -1)))
            torch.mm(rows[even:], queries.T, out=out[even:])
            return out
        for part, scores in zip(rows.split(CONVERTED_ROWS), out.split(CONVERTED_ROWS), strict=True):
            torch.mm(part.float(), queries.T, out=scores)
        return out


class _Best(TopK):
    """The best items so far of some queries (n_queries, d)."""

    def __init__(self, queries: Tensor, k: int) -> None:
        super().__init__(len(queries), k, queries.device)
        self.queries = queries

    def take(self, scores: Tensor, start: int) -> None:
        """Take in a block of scores (n_items, n_queries) of the items from `start` on."""
        grouped = len(scores) // GROUP * GROUP
        if grouped // GROUP > self.k:
            best, items = _best_of_groups(scores[:grouped], self.k)
            self.merge(slice(None), best, items + start)
            scores, start = scores[grouped:], start + grouped
        if len(scores):
            self.add(slice(None), start, scores.T.contiguous())

    def sorted(self) -> Hits:
        """Best first; of equal scores the lower item."""
        items, order = self.items.sort(1)
        scores, by_score = self.scores.gather(1, order).sort(dim=1, descending=True, stable=True)
        return Hits(scores.cpu().numpy(), items.gather(1, by_score).cpu().numpy())


def _best_of_groups(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` best of `scores` (n_groups * GROUP, n_queries): scores and rows (n_queries, k)."""
    n_groups, n_queries = len(scores) // GROUP, scores.shape[1]
    # item j of group i is row j * n_groups + i: maxima are then taken over contiguous memory
    groups = scores.view(GROUP, n_groups, n_queries)
    chosen = groups.amax(0).T.contiguous().topk(k, dim=1).indices
    members = groups.gather(1, chosen.T.expand(GROUP, k, n_queries))
    top = members.reshape(GROUP * k, n_queries).T.contiguous().topk(k, dim=1)
    member, group = top.indices // k, chosen.gather(1, top.indices % k)
    return top.values, member * n_groups + group
