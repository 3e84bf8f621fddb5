"""Several losses at once, each with a weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.losses.contrast import CompositeLoss, ContrastiveLoss, Past


class WeightedSum(CompositeLoss):
    """The sum of named losses, each times its weight: `losses={"hinge": HingeLoss(), …}`."""

    def __init__(self, *, losses: Mapping[str, ContrastiveLoss], weights: dict[str, float]) -> None:
        super().__init__()
        if not losses or set(losses) != set(weights):
            raise UserError(
                f"loss.losses names {', '.join(losses) or 'none'} and loss.weights "
                f"{', '.join(weights) or 'none'}: give each loss one weight."
            )
        self.losses = nn.ModuleDict(dict(losses))
        self.weights = {name: float(weights[name]) for name in losses}

    @property
    def parts(self) -> Iterable[ContrastiveLoss]:
        return cast(Iterable[ContrastiveLoss], self.losses.values())

    def forward(
        self,
        images: Tensor,
        captions: Tensor,
        image_ids: Tensor | None = None,
        past: Past | None = None,
        own: slice | None = None,
    ) -> Tensor:
        """Images and captions (B, d), row i of both a pair; `image_ids` (B,). A scalar."""
        share = {} if own is None else {"own": own}  # which losses of one's own may not know
        parts = [
            self.weights[name] * loss(images, captions, image_ids, past, **share)
            for name, loss in self.losses.items()
        ]
        return torch.stack(parts).sum()
