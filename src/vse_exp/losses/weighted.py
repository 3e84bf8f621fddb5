"""Several losses at once, each with a weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.losses.contrast import Past, Scheduled


class WeightedSum(nn.Module):
    """The sum of named losses, each times its weight: `losses={"hinge": HingeLoss(), …}`."""

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        if not losses or set(losses) != set(weights):
            raise UserError(
                f"loss.losses names {', '.join(losses) or 'none'} and loss.weights "
                f"{', '.join(weights) or 'none'}: give each loss one weight."
            )
        self.losses = nn.ModuleDict(dict(losses))
        self.weights = {name: float(weights[name]) for name in losses}

    def set_progress(self, step: int, epoch: float) -> None:
        """Tell those losses that have a schedule."""
        for loss in self.losses.values():
            if isinstance(loss, Scheduled):
                loss.set_progress(step, epoch)

    def forward(
        self,
        images: Tensor,
        captions: Tensor,
        image_ids: Tensor | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """Images and captions (B, d), row i of both a pair; `image_ids` (B,). A scalar."""
        extra = () if past is None else (past,)  # not every loss takes them
        parts = [
            self.weights[name] * loss(images, captions, image_ids, *extra)
            for name, loss in self.losses.items()
        ]
        return torch.stack(parts).sum()
