"""A loss: the hinge over all negatives without its corner."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from vse_exp.losses.contrast import ContrastiveLoss, Past, contrast
from vse_exp.schema import Positive


class SoftplusLoss(ContrastiveLoss):
    """Mean over the pairs of `sum log(1 + exp(scale (wrong - right)))`, in both directions."""

    def __init__(self, *, scale: Positive = 10.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(
        self, images: Tensor, captions: Tensor, image_ids: Tensor, past: Past | None = None
    ) -> Tensor:
        scores = contrast(self.similarity, images, captions, image_ids, True, past)
        right = scores.right[:, None]
        wrong = softplus(self.scale * (scores.captions - right)).sum(1)
        return (wrong + softplus(self.scale * (scores.images - right)).sum(1)).mean()
