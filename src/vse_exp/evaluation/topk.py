"""The best items of each query so far, as blocks of scores come in."""

from __future__ import annotations

import torch
from torch import Tensor


class TopK:
    """The `k` best scores of each of `n` queries, best first, and the items (n, k) that have them.

    Which of equal scores stand first is not defined.
    """

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.k = k
        self.scores = torch.full((n, k), -torch.inf, device=device)
        self.items = torch.zeros((n, k), dtype=torch.int64, device=device)

    def add(self, queries: slice, start: int, scores: Tensor) -> None:
        """Take in scores (n_queries, n_items) of some queries with the items from `start` on."""
        top = scores.topk(min(self.k, scores.shape[1]), dim=1)
        self.merge(queries, top.values, top.indices + start)

    def merge(self, queries: slice, scores: Tensor, items: Tensor) -> None:
        """Take in candidates (n_queries, …) of some queries."""
        scores = torch.cat([self.scores[queries], scores], 1)
        items = torch.cat([self.items[queries], items], 1)
        best = scores.topk(self.k, dim=1)
        self.scores[queries] = best.values
        self.items[queries] = items.gather(1, best.indices)
