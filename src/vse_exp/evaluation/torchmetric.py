"""The metrics as a torchmetrics.Metric: collected batch by batch, right under N processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from vse_exp.errors import UserError
from vse_exp.evaluation.protocols import Evaluation, evaluate_embeddings
from vse_exp.similarity import SimilarityLike

STATES = {
    "image_rows": torch.float32,
    "image_ids": torch.int64,
    "caption_rows": torch.float32,
    "caption_ids": torch.int64,
    "caption_images": torch.int64,
}
"""What is gathered, each flat: rows are cut again by the number of their ids."""


class RetrievalMetric(Metric):
    """Holds embeddings with their indices; `compute` ranks them, each index once.

    Images and captions come in any order and from any process; what a distributed sampler gave
    twice counts once. Memory: 4 bytes a value of each embedding, and the blocks of `ranks`.
    `evaluation` holds the ranks of the last `compute` too, until `reset`.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    image_rows: list[Tensor]
    image_ids: list[Tensor]
    caption_rows: list[Tensor]
    caption_ids: list[Tensor]
    caption_images: list[Tensor]

    def __init__(self, similarity: SimilarityLike = "cosine") -> None:
        super().__init__()
        self.similarity = similarity
        for state in STATES:
            self.add_state(state, default=[], dist_reduce_fx="cat")
        self._start()

    def reset(self) -> None:
        """Forget all embeddings."""
        super().reset()
        self._start()

    def _start(self) -> None:
        self.evaluation: Evaluation | None = None
        # a process that is given nothing must still gather tensors of the right type with others
        for state, dtype in STATES.items():
            getattr(self, state).append(torch.empty(0, dtype=dtype, device=self.device))

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
        self.image_rows.append(images.detach().float().flatten())
        self.image_ids.append(image_index)
        self.caption_rows.append(captions.detach().float().flatten())
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
        """The dictionary of `retrieval_metrics`.

        Raises UserError where a caption came without its image or an image without captions.
        """
        image_ids, caption_ids = dim_zero_cat(self.image_ids), dim_zero_cat(self.caption_ids)
        if not len(image_ids) or not len(caption_ids):
            raise UserError("No images or no captions were given to evaluate.")
        n_images = len(image_ids)
        image_ids, first = _distinct(image_ids)
        images = dim_zero_cat(self.image_rows).view(n_images, -1)[first]
        _, first = _distinct(caption_ids)
        captions = dim_zero_cat(self.caption_rows).view(len(caption_ids), -1)[first]
        caption_images = dim_zero_cat(self.caption_images)[first]
        mapping = torch.searchsorted(image_ids, caption_images)
        known = image_ids[mapping.clamp(max=len(image_ids) - 1)] == caption_images
        if not bool(known.all()):
            missing = int(caption_images[~known][0])
            raise UserError(
                f"Captions of image {missing} were evaluated without it: give all images and all "
                "captions of a split."
            )
        self.evaluation = evaluate_embeddings(images, captions, mapping, similarity=self.similarity)
        return self.evaluation.metrics


def _distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct ids in ascending order, and where each stands."""
    distinct, inverse = torch.unique(ids, return_inverse=True)
    place = torch.empty_like(distinct)
    place[inverse] = torch.arange(len(ids), device=ids.device)
    return distinct, place
