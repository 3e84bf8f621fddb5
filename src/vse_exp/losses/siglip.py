"""The pairwise sigmoid loss of SigLIP (Zhai et al. 2023, algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from vse_exp.errors import UserError
from vse_exp.losses.contrast import Contrast, PairLoss
from vse_exp.losses.infonce import LearnedScale
from vse_exp.schema import Positive
from vse_exp.similarity import Logit, Similarity


class SigmoidLoss(PairLoss):
    """Each pair (image, caption) of the batch is classified alone as right or wrong.

    The sum over all pairs of `-log sigmoid(±(score / temperature + bias))`, divided by the number
    of items. Temperature (within bounds) and bias are learned, from those of a pre-trained model
    where they are None; the bias starts low because wrong pairs prevail. With `mask_same_image`, an
    image with another caption of its own counts as neither right nor wrong.
    """

    def __init__(
        self,
        *,
        temperature: Positive | None = 0.1,
        bias: float | None = -10.0,
        min_temperature: Positive = 0.01,
        max_temperature: Positive = 1.0,
        mask_same_image: bool = True,
    ) -> None:
        super().__init__()
        self.scale = LearnedScale(temperature, min_temperature, max_temperature, learned=True)
        self.of_model = bias is None
        self.bias = nn.Parameter(torch.tensor(0.0 if bias is None else bias))
        self.mask_same_image = mask_same_image

    @torch.no_grad()
    def use(self, similarity: Similarity, logit: Logit | None = None) -> None:
        super().use(similarity, logit)
        self.scale.use(logit)
        if self.of_model:
            if logit is None:
                raise UserError(
                    "loss.bias=null is for pre-trained towers, which bring one: give a number."
                )
            self.bias.fill_(logit.bias)

    @property
    @torch.no_grad()
    def logit(self) -> Logit:
        return Logit(float(self.scale()), float(self.bias))

    def score(self, images: Tensor, captions: Tensor) -> Tensor:
        return self.scale() * self.similarity(images, captions) + self.bias

    def of_scores(self, scores: Contrast, batch: int) -> Tensor:
        # the batch's wrong pairs stand in both matrices, those with the past in one each
        wrong = softplus(scores.captions).sum() + softplus(scores.images[:, batch:]).sum()
        return (softplus(-scores.right).sum() + wrong) / batch
