"""Cross-batch memory (XBM, Wang et al. 2020): embeddings of past batches as more negatives."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vse_exp.losses.contrast import CompositeLoss, ContrastiveLoss, Past
from vse_exp.schema import Count, Size


class QueuedLoss(CompositeLoss):
    """A loss whose negatives are, beside the batch, the last `size` pairs of earlier batches.

    Past embeddings carry no gradient and are as old as the queue is long, so it is of use where
    embeddings move slowly: it fills from the first update on, and is used from `start_step`.
    """

    def __init__(self, *, loss: ContrastiveLoss, size: Size = 2048, start_step: Count = 0) -> None:
        super().__init__()
        self.loss = loss
        self.size = size
        self.start_step = start_step
        self.step = 0
        self.ring: Past | None = None
        self.filled = 0
        self.position = 0
        # Written at the next update: until then the graph holds the rows that this would replace.
        self.pending: Past | None = None

    @property
    def parts(self) -> tuple[ContrastiveLoss]:
        return (self.loss,)

    def set_progress(self, step: int, epoch: float) -> None:
        """After `step` updates: decides whether the queue is used."""
        self.step = step
        super().set_progress(step, epoch)

    def forward(
        self,
        images: Tensor,
        captions: Tensor,
        image_ids: Tensor,
        past: Past | None = None,
        own: slice | None = None,
    ) -> Tensor:
        """Images and captions (B, d), row i of both a pair; `image_ids` (B,). A scalar."""
        self._write_pending()
        if self.ring is not None:  # a loaded one may lie on another device
            self.ring = Past(*(rows.to(images.device) for rows in self.ring))
        past = self.past() if self.step >= self.start_step else None
        self.pending = Past(images.detach(), captions.detach(), image_ids)
        share = {} if own is None else {"own": own}  # which a loss of one's own may not know
        return self.loss(images, captions, image_ids, past, **share)

    def past(self) -> Past | None:
        """The rows that are there, in no order; None while there are none."""
        if self.ring is None:
            return None
        return Past(*(rows[: self.filled] for rows in self.ring))

    def _write_pending(self) -> None:
        if self.pending is None:
            return
        new = Past(*(rows[-self.size :] for rows in self.pending))
        self.pending = None
        if self.ring is None:
            self.ring = Past(*(rows.new_empty(self.size, *rows.shape[1:]) for rows in new))
        count = len(new.image_ids)
        first = min(count, self.size - self.position)  # rows before the ring's end
        for ring, rows in zip(self.ring, new, strict=True):
            ring[self.position : self.position + first] = rows[:first]
            ring[: count - first] = rows[first:]
        self.filled = min(self.size, self.filled + count)
        self.position = (self.position + count) % self.size

    def get_extra_state(self) -> dict[str, Any]:
        self._write_pending()
        past = self.past()
        rows = None if past is None else [part.clone() for part in past]
        return {"rows": rows, "position": self.position}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.pending = self.ring = None
        self.filled = self.position = 0
        if state["rows"] is not None:
            self.pending = Past(*state["rows"])
            self._write_pending()
            self.position = state["position"]
