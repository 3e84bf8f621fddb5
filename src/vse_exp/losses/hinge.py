"""The pairwise ranking loss of Kiros, Salakhutdinov and Zemel (2014), eq. 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.evaluation.similarity import SIMILARITIES


def check_margin(margin: float) -> float:
    """The margin, which must lie in (0, 1]; else UserError."""
    if not 0 < margin <= 1:
        raise UserError(f"loss.margin is {margin}, and must lie in (0, 1].")
    return margin


def same_image(image_ids: Tensor | None, n: int, mask: bool, device: torch.device) -> Tensor:
    """Bool (n, n): the pairs that are no negatives, the diagonal and, if `mask`, same images."""
    own = torch.eye(n, dtype=torch.bool, device=device)
    if mask and image_ids is not None:
        own |= image_ids[:, None] == image_ids[None]
    return own


class HingeLoss(nn.Module):
    """Sum over all negatives, in both directions, of `max(0, margin - right + wrong)`.

    `ncon` draws that many random negatives a pair and direction instead of all others;
    `mask_same_image` keeps captions of one image from being negatives of each other.
    """

    def __init__(
        self,
        margin: float = 0.2,
        ncon: int | None = None,
        mask_same_image: bool = True,
        similarity: str = "cosine",
    ) -> None:
        super().__init__()
        self.margin = check_margin(margin)
        if ncon is not None and ncon < 1:
            raise UserError(f"loss.ncon is {ncon}: null (all others), or at least 1.")
        self.ncon = ncon
        self.mask_same_image = mask_same_image
        self.score = SIMILARITIES[similarity]

    def forward(self, images: Tensor, captions: Tensor, image_ids: Tensor | None = None) -> Tensor:
        """Images and captions (B, d), row i of both a pair; `image_ids` (B,). A scalar."""
        scores = self.score(images, captions)
        right = scores.diagonal()
        own = same_image(image_ids, len(scores), self.mask_same_image, scores.device)
        captions_wrong = (self.margin - right[:, None] + scores).clamp(min=0)
        images_wrong = (self.margin - right[None] + scores).clamp(min=0)
        if self.ncon is None:
            return (captions_wrong + images_wrong).masked_fill(own, 0).sum()
        captions_drawn = _draw(own, self.ncon)
        images_drawn = _draw(own, self.ncon).T
        return (captions_wrong * captions_drawn + images_wrong * images_drawn).sum()


def _draw(own: Tensor, count: int) -> Tensor:
    """Bool (n, n): up to `count` random entries a row among those that are not `own`."""
    keys = torch.rand(own.shape, device=own.device).masked_fill(own, -1)
    chosen = keys.topk(min(count, len(own)), dim=1).indices
    return torch.zeros_like(own).scatter(1, chosen, True) & ~own
