"""Random contrastive items (the 2014 paper, section 2.2): a few negatives a pair, not all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.losses.contrast import Contrast


class RandomNegatives(nn.Module):
    """Leaves `count` random negatives a pair and direction, or all where there are no more.

    The draws come from a generator of its own, whose state is in the state_dict: a resumed run
    draws what the uninterrupted one would, and processes that start from one seed draw the same.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__()
        if count < 1:
            raise UserError(f"loss.ncon is {count}: null (all others), or at least 1.")
        self.count = count
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, scores: Contrast) -> Contrast:
        """The scores with -inf at all negatives that were not drawn."""
        return Contrast(scores.right, self._draw(scores.captions), self._draw(scores.images))

    def _draw(self, wrong: Tensor) -> Tensor:
        # on the CPU, whose generator draws the same on every machine
        keys = torch.rand(wrong.shape, generator=self.generator).to(wrong.device)
        keys = keys.masked_fill(wrong.isneginf(), -1)
        chosen = keys.topk(min(self.count, keys.shape[1]), sorted=False).indices
        dropped = torch.ones_like(keys, dtype=torch.bool).scatter_(1, chosen, False)
        return wrong.masked_fill(dropped, -torch.inf)

    def get_extra_state(self) -> Tensor:
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())
