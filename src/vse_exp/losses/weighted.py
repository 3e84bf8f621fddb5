"""Several losses at once, each with a weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.losses.contrast import ContrastiveLoss, Past
from vse_exp.similarity import Logit, Similarity


class WeightedSum(ContrastiveLoss):
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
    def by_rows(self) -> bool:
        return all(loss.by_rows for loss in self._each())

    def _each(self) -> Iterable[ContrastiveLoss]:
        return cast(Iterable[ContrastiveLoss], self.losses.values())

    def use(self, similarity: Similarity, logit: Logit | None = None) -> None:
        for loss in self._each():
            loss.use(similarity, logit)

    @property
    def logit(self) -> Logit | None:
        return next((loss.logit for loss in self._each() if loss.logit), None)

    def set_progress(self, step: int, epoch: float) -> None:
        for loss in self._each():
            loss.set_progress(step, epoch)

    @property
    def taught(self) -> bool:
        return any(loss.taught for loss in self._each())

    def learn_from(self, images: Tensor, captions: Tensor) -> None:
        for loss in self._each():
            loss.learn_from(images, captions)

    def see(self, caption_ids: Tensor) -> None:
        for loss in self._each():
            loss.see(caption_ids)

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
