"""Random contrastive items (the 2014 paper, section 2.2): a few negatives a pair, not all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.losses.contrast import Contrast
from vse_exp.mixing import mixed


class RandomNegatives(nn.Module):
    """Leaves `count` random negatives a pair and direction, or all where there are no more.

    What is drawn follows from a number that a generator of its own gives for each batch, whose
    state is in the state_dict: a resumed run draws what the uninterrupted one would. Each pair's
    lot is made of that number and its place on the device itself, so that CPU and GPU draw the
    same, and a process needs no more than its own rows.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__()
        if count < 1:
            raise UserError(f"loss.ncon is {count}: null (all others), or at least 1.")
        self.count = count
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, scores: Contrast) -> Contrast:
        """The scores with -inf at all negatives that were not drawn."""
        return scores._replace(
            captions=self._draw(scores.captions, scores.first),
            images=self._draw(scores.images, scores.first),
        )

    def _draw(self, wrong: Tensor, first: int) -> Tensor:
        number = int(torch.randint(1 << 62, (), generator=self.generator))
        rows = torch.arange(first, first + len(wrong), device=wrong.device)
        columns = torch.arange(wrong.shape[1], device=wrong.device)
        lots = mixed((rows[:, None] << 32) + columns + number).masked_fill(wrong.isneginf(), -1)
        chosen = lots.topk(min(self.count, lots.shape[1]), sorted=False).indices
        dropped = torch.ones_like(lots, dtype=torch.bool).scatter_(1, chosen, False)
        return wrong.masked_fill(dropped, -torch.inf)

    def get_extra_state(self) -> Tensor:
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        self.generator.set_state(state.cpu())
