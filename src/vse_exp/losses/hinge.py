"""The pairwise ranking loss of Kiros, Salakhutdinov and Zemel (2014), eq. 2."""

from __future__ import annotations

from torch import Tensor

from vse_exp.losses.contrast import Contrast, PairLoss
from vse_exp.losses.sampling import RandomNegatives
from vse_exp.schema import Size, UpToOne


def sum_of_hinges(scores: Contrast, margin: float) -> Tensor:
    """Sum over all wrong captions and images of `max(0, margin - right + wrong)`."""
    bar = (scores.right - margin)[:, None]
    return (scores.captions - bar).relu().sum() + (scores.images - bar).relu().sum()


class HingeLoss(PairLoss):
    """Sum over all negatives, in both directions, of `max(0, margin - right + wrong)`.

    `ncon` draws that many random negatives a pair and direction instead of all others, by its own
    generator that starts from `seed`; `mask_same_image` keeps captions of one image from being
    negatives of each other.
    """

    def __init__(
        self,
        *,
        margin: UpToOne = 0.2,
        ncon: Size | None = None,
        mask_same_image: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.mask_same_image = mask_same_image
        self.sample = None if ncon is None else RandomNegatives(ncon, seed)

    def of_scores(self, scores: Contrast, batch: int) -> Tensor:
        if self.sample is not None:
            scores = self.sample(scores)
        return sum_of_hinges(scores, self.margin)
