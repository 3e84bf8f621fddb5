"""InfoNCE in both directions with a learned temperature (CLIP, Radford et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.losses.contrast import Contrast, PairLoss
from vse_exp.schema import Positive, Share
from vse_exp.similarity import Logit, Similarity


class LearnedScale(nn.Module):
    """The inverse of a temperature, learned as its logarithm and kept within bounds.

    Without a temperature it is that of the model (`use`), also where that lies outside the bounds.
    """

    def __init__(
        self, temperature: float | None, lowest: float, highest: float, learned: bool
    ) -> None:
        super().__init__()
        self.of_model = temperature is None
        if temperature is None:
            temperature = highest
        if not 0 < lowest <= temperature <= highest:
            raise UserError(
                f"loss.temperature is {temperature}, and must lie in [loss.min_temperature, "
                f"loss.max_temperature] = [{lowest}, {highest}], above zero."
            )
        self.bounds = -math.log(highest), -math.log(lowest)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learned)

    @torch.no_grad()
    def use(self, logit: Logit | None) -> None:
        if not self.of_model:
            return
        if logit is None:
            raise UserError(
                "loss.temperature=null is for pre-trained towers, which bring one: give a number."
            )
        start = math.log(logit.scale)
        self.log_scale.fill_(start)
        self.bounds = min(self.bounds[0], start), max(self.bounds[1], start)

    def forward(self) -> Tensor:
        """The scale, a scalar."""
        with torch.no_grad():  # and not clamped in the graph: at a bound it can still turn back
            self.log_scale.clamp_(*self.bounds)
        return self.log_scale.exp()


class InfoNCELoss(PairLoss):
    """Mean over both directions of the cross-entropy of the right one among all of the batch.

    Scores are divided by a temperature (None: that of a pre-trained model), learned unless
    `learn_temperature` is false, within its bounds (CLIP's lowest is 0.01). `label_smoothing` gives
    that share of the target to all candidates evenly, as torch's cross_entropy does. With
    `mask_same_image`, captions of one image are no candidates for each other's image.
    """

    def __init__(
        self,
        *,
        temperature: Positive | None = 0.05,
        learn_temperature: bool = True,
        min_temperature: Positive = 0.01,
        max_temperature: Positive = 1.0,
        label_smoothing: Share = 0.0,
        mask_same_image: bool = True,
    ) -> None:
        super().__init__()
        self.scale = LearnedScale(temperature, min_temperature, max_temperature, learn_temperature)
        self.label_smoothing = label_smoothing
        self.mask_same_image = mask_same_image

    def use(self, similarity: Similarity, logit: Logit | None = None) -> None:
        super().use(similarity, logit)
        self.scale.use(logit)

    @property
    @torch.no_grad()
    def logit(self) -> Logit:
        return Logit(float(self.scale()))

    def score(self, images: Tensor, captions: Tensor) -> Tensor:
        return self.scale() * self.similarity(images, captions)

    def of_scores(self, scores: Contrast, batch: int) -> Tensor:
        both = self._cross_entropy(scores.right, scores.captions)
        both = both + self._cross_entropy(scores.right, scores.images)
        return both.sum() / (2 * batch)

    def _cross_entropy(self, right: Tensor, wrong: Tensor) -> Tensor:
        logits = torch.cat([right[:, None], wrong], 1)
        target = right
        if self.label_smoothing:
            masked = logits.isneginf()
            mean = logits.masked_fill(masked, 0).sum(1) / (~masked).sum(1)
            target = torch.lerp(right, mean, self.label_smoothing)
        return logits.logsumexp(1) - target
