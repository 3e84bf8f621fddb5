"""Watches for the collapse of hardest-negative training: all embeddings in one point."""

from __future__ import annotations


class CollapseDetector:
    """Tells from the losses of `HardestHingeLoss` that training has collapsed.

    Where all scores are equal, each item loses its margin in both directions: a loss of
    `2 * margin` an item, which does not move. Collapse is a loss within the share `tolerance` of
    that for `patience` updates one after the other.
    """

    def __init__(self, plateau: float, patience: int = 300, tolerance: float = 0.03) -> None:
        self.plateau = plateau
        self.patience = patience
        self.tolerance = tolerance
        self.updates = 0
        """Updates that the loss has now been on the plateau."""

    @property
    def collapsed(self) -> bool:
        return self.updates >= self.patience

    def update(self, loss: float, batch_size: int) -> str | None:
        """Take in the loss of a batch, a sum over its items; a sentence when collapse sets in."""
        off = abs(loss / batch_size - self.plateau)
        self.updates = self.updates + 1 if off <= self.tolerance * self.plateau else 0
        if self.updates != self.patience:
            return None
        return (
            f"The loss has stayed at 2 x margin an item ({loss / batch_size:.3f}) for "
            f"{self.patience} updates: with hardest negatives all embeddings have met in one "
            "point; set loss.warmup_epochs=1 to begin with the sum over all negatives (or more of "
            "it), or take loss=hinge, a lower lrate or a larger data.batch_size."
        )
