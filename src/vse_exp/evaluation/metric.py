"""The metrics as a torchmetrics.Metric: collected batch by batch, right under N processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from vse_exp.evaluation.metrics import retrieval_metrics
from vse_exp.evaluation.ranks import retrieval_ranks


class RetrievalMetric(Metric):
    """Holds embeddings with their indices; `compute` ranks them, each index once.

    Images and captions come in any order and from any process; what a distributed sampler gave
    twice counts once.
    """

    full_state_update = False
    image_rows: list[Tensor]
    image_ids: list[Tensor]
    caption_rows: list[Tensor]
    caption_ids: list[Tensor]
    caption_images: list[Tensor]

    def __init__(self, similarity: str = "cosine") -> None:
        super().__init__()
        self.similarity = similarity
        for state in ("image_rows", "image_ids", "caption_rows", "caption_ids", "caption_images"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(
        self,
        images: Tensor,
        image_index: Tensor,
        captions: Tensor,
        caption_index: Tensor,
        caption_image: Tensor,
    ) -> None:
        """Add images (n, d) with their indices (n,), and captions (m, d) with theirs and those of
        their images; either may have no rows."""
        if len(images):
            self.image_rows.append(images.float())
            self.image_ids.append(image_index)
        if len(captions):
            self.caption_rows.append(captions.float())
            self.caption_ids.append(caption_index)
            self.caption_images.append(caption_image)

    def update_images(self, images: Tensor, image_index: Tensor) -> None:
        """Add images alone."""
        nothing = image_index.new_empty(0)
        self.update(images, image_index, images[:0], nothing, nothing)

    def update_captions(
        self, captions: Tensor, caption_index: Tensor, caption_image: Tensor
    ) -> None:
        """Add captions alone."""
        nothing = caption_index.new_empty(0)
        self.update(captions[:0], nothing, captions, caption_index, caption_image)

    def compute(self) -> dict[str, float]:
        """The dictionary of `retrieval_metrics`."""
        image_ids, images = _once(dim_zero_cat(self.image_ids), dim_zero_cat(self.image_rows))
        caption_ids = dim_zero_cat(self.caption_ids)
        _, captions = _once(caption_ids, dim_zero_cat(self.caption_rows))
        _, caption_images = _once(caption_ids, dim_zero_cat(self.caption_images))
        mapping = torch.searchsorted(image_ids, caption_images)
        return retrieval_metrics(
            *retrieval_ranks(images, captions, mapping, similarity=self.similarity)
        )


def _once(ids: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct ids in ascending order, and a row for each."""
    distinct, inverse = torch.unique(ids, return_inverse=True)
    first = torch.empty_like(distinct)
    first[inverse] = torch.arange(len(ids), device=ids.device)
    return distinct, rows[first]
