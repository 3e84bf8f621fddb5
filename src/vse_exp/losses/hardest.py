"""The hardest negatives of VSE++ (Faghri et al. 2018, eq. 6), reached by a schedule."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.losses.contrast import Contrast, PairLoss
from vse_exp.losses.hinge import sum_of_hinges
from vse_exp.schema import NonNegative, Size, UpToOne


class HardestHingeLoss(PairLoss):
    """Sum over the pairs of the hinge of the hardest wrong caption and of the hardest wrong image.

    From the first update on this collapses easily (vsepp issues 18, 27): all embeddings meet in
    one point, where the loss is 2 x margin an item. So it begins as the sum over all negatives and
    becomes the hardest within `warmup_epochs` or `warmup_steps` (one of them; null and null: the
    hardest at once): `warmup` is "linear" (the weight of the hardest goes from 0 to 1) or "switch"
    (the sum until then, VSE-infinity's way).
    """

    def __init__(
        self,
        *,
        margin: UpToOne = 0.2,
        warmup_epochs: NonNegative | None = None,
        warmup_steps: Size | None = None,
        warmup: Literal["linear", "switch"] = "linear",
        mask_same_image: bool = True,
    ) -> None:
        super().__init__()
        if warmup_epochs is not None and warmup_steps is not None:
            raise UserError(
                "loss.warmup_epochs and loss.warmup_steps are both given: leave one of them null."
            )
        self.margin = margin
        self.warmup_epochs = warmup_epochs
        self.warmup_steps = warmup_steps
        self.warmup = warmup
        self.mask_same_image = mask_same_image
        self.weight = 1.0
        """Of the hardest negatives; the sum over all has the rest."""
        self.set_progress(0, 0.0)

    @property
    def collapsed_value(self) -> float | None:
        return 2 * self.margin

    def set_progress(self, step: int, epoch: float) -> None:
        """Set the weight of the hardest negatives after `step` updates and `epoch` epochs."""
        if self.warmup_epochs:
            done = epoch / self.warmup_epochs
        elif self.warmup_steps:
            done = step / self.warmup_steps
        else:
            done = 1.0
        self.weight = min(1.0, done) if self.warmup == "linear" else float(done >= 1)

    def of_scores(self, scores: Contrast, batch: int) -> Tensor:
        if self.weight == 0:
            return sum_of_hinges(scores, self.margin)
        bar = scores.right - self.margin
        hardest = (scores.captions.amax(1) - bar).relu() + (scores.images.amax(1) - bar).relu()
        if self.weight == 1:
            return hardest.sum()
        return self.weight * hardest.sum() + (1 - self.weight) * sum_of_hinges(scores, self.margin)
