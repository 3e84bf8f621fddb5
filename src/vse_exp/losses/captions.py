"""Captions of one image as each other's positives (Khosla et al. 2020), beside the images."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch.nn.functional import pad

from vse_exp.losses.contrast import ContrastiveLoss, Past, at_least_float32
from vse_exp.losses.infonce import LearnedScale
from vse_exp.schema import Positive

log = logging.getLogger(__name__)

LOOK_AFTER = 50
"""Updates after which a GPU is asked about the first batch, which it has long done then."""


class CaptionContrastLoss(ContrastiveLoss):
    """Mean cross-entropy of a caption's positives, the batch's other captions of its image, among
    all other captions of the batch (eq. 2 there: the mean over several positives is outside the
    logarithm). Captions without a positive only stand among the negatives.

    It trains the sentence encoder alone, so it is one term of a sum, in batches that hold several
    captions an image (`data.captions_together`). A batch in which none has another, as in data of
    one caption an image, costs nothing; if the first batch of all is one, that is told in the log.
    """

    by_rows = True

    def __init__(
        self,
        *,
        temperature: Positive = 0.05,
        learn_temperature: bool = True,
        min_temperature: Positive = 0.01,
        max_temperature: Positive = 1.0,
    ) -> None:
        super().__init__()
        self.scale = LearnedScale(temperature, min_temperature, max_temperature, learn_temperature)
        self.told = False
        self.having: Tensor | None = None
        """How many captions of the first batch have positives."""

    def forward(
        self,
        images: Tensor,
        captions: Tensor,
        image_ids: Tensor,
        past: Past | None = None,
        own: slice | None = None,
    ) -> Tensor:
        """Captions (B, d) of the images `image_ids` (B,); `images` is not looked at. A scalar."""
        first = 0 if own is None else own.start
        places = torch.arange(len(captions), device=captions.device)
        mine = places if own is None else places[own]
        itself = mine[:, None] == places
        positives = (image_ids[mine, None] == image_ids) & ~itself
        counts = positives.sum(1)
        having = _with_companions(image_ids)
        self.having = having if self.having is None else self.having
        if captions.device.type == "cpu":
            self._tell_once()
        with torch.autocast(captions.device.type, enabled=False):
            rows = at_least_float32(captions)
            # inner products: captions are on one side, where an order has nothing to say
            scores = self.scale() * (rows[first : first + len(mine)] @ rows.T)
            # all captions, those without positives with weight zero: to pick the others out would
            # need their number on the host
            right = scores.masked_fill(~positives, 0).sum(1) / counts.clamp_min(1)
            losses = scores.masked_fill(itself, torch.finfo(scores.dtype).min).logsumexp(1) - right
            losses = losses.masked_fill(counts == 0, 0)  # alone in its batch, a caption has none
            return losses.sum() / having.clamp_min(1)

    def set_progress(self, step: int, epoch: float) -> None:
        if step >= LOOK_AFTER:
            self._tell_once()

    def _tell_once(self) -> None:
        if self.told or self.having is None:
            return
        self.told = True
        if not bool(self.having):
            log.warning(
                "No two captions of a batch are of one image: loss.losses.captions has no effect "
                "(data.captions_together=2 brings them together where images have several)."
            )


def _with_companions(image_ids: Tensor) -> Tensor:
    """How many of a batch's captions have another one of their image in it, a scalar."""
    ordered = image_ids.sort().values
    alike = (ordered[1:] == ordered[:-1]).to(torch.int64)
    return (pad(alike, (1, 0)) | pad(alike, (0, 1))).sum()
