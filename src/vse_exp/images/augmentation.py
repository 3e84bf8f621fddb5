"""How training pictures vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vse_exp.errors import UserError


@dataclass(frozen=True)
class Augmentation:
    """How training pictures vary, by torchvision's v2 transforms."""

    scale: float = 0.7
    """Smallest share of the area that a random crop keeps; 1: always the middle."""
    stretch: float = 1.1
    """Largest change of its proportions."""
    flip: float = 0.0
    """Share of pictures that are mirrored; captions that say left and right are then wrong."""
    colour: float = 0.0
    """Largest relative change of brightness, contrast and saturation."""

    def build(self, side: int) -> Any:
        """The transform of uint8 pictures (…, 3, H, W) to (…, 3, side, side)."""
        # imported late: it takes a second that training on features need not wait
        from torchvision.transforms import v2

        steps: list[Any] = []
        if self.scale < 1:
            ratio = (1 / self.stretch, self.stretch)
            steps.append(v2.RandomResizedCrop(side, (self.scale, 1.0), ratio, antialias=True))
        else:
            steps.append(v2.CenterCrop(side))
        if self.flip:
            steps.append(v2.RandomHorizontalFlip(self.flip))
        if self.colour:
            steps.append(v2.ColorJitter(self.colour, self.colour, self.colour))
        return v2.Compose(steps)

    def check(self) -> None:
        """UserError for shares outside 0 to 1 and proportions below 1."""
        for name in ("scale", "flip", "colour"):
            if not 0 <= getattr(self, name) <= 1 or self.scale == 0:
                raise UserError(
                    f"augmentation.{name}={getattr(self, name)} must lie between 0 and 1."
                )
        if self.stretch < 1:
            raise UserError(f"augmentation.stretch={self.stretch} must be at least 1.")
