"""Captions of one image as each other's right answers (Khosla et al. 2020), beside the images."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from vse_exp.losses.contrast import at_least_float32, find_score
from vse_exp.losses.infonce import LearnedScale

log = logging.getLogger(__name__)


class CaptionContrastLoss(nn.Module):
    """Mean cross-entropy of a caption's companions, the batch's other captions of its image, among
    all other captions of the batch (eq. 2 there: the mean over several companions is outside the
    logarithm). Captions without a companion only stand among the wrong ones.

    It trains the sentence encoder alone, so it is one term of a sum, in batches that hold several
    captions an image (`data.captions_together`). A batch in which none has another, as in data of
    one caption an image, costs nothing; the first such batch of all is told in the log.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        learn_temperature: bool = True,
        min_temperature: float = 0.01,
        max_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = LearnedScale(temperature, min_temperature, max_temperature, learn_temperature)
        self.similarity = find_score("cosine")
        self.told = False

    def forward(self, images: Tensor, captions: Tensor, image_ids: Tensor) -> Tensor:
        """Captions (B, d) of the images `image_ids` (B,); `images` is not looked at. A scalar."""
        itself = torch.eye(len(captions), dtype=torch.bool, device=captions.device)
        companions = (image_ids[:, None] == image_ids) & ~itself
        having = companions.any(1)
        if not bool(having.any()):
            if not self.told:
                self.told = True
                log.warning(
                    "No two captions of a batch are of one image: loss.losses.captions has no "
                    "effect (data.captions_together=2 brings them together where images have "
                    "several)."
                )
            return 0 * (captions.sum() + self.scale())  # every parameter has a gradient
        self.told = True  # there are companions: a batch without is no matter
        with torch.autocast(captions.device.type, enabled=False):
            rows = at_least_float32(captions)
            scores = self.scale() * self.similarity(rows, rows)
            scores = scores.masked_fill(itself, -torch.inf)[having]
            companions = companions[having]
            right = scores.masked_fill(~companions, 0).sum(1) / companions.sum(1)
            return (scores.logsumexp(1) - right).mean()
