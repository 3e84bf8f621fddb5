"""What every contrastive loss starts from: the right scores and the wrong ones, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vse_exp.parts import Part
from vse_exp.similarity import Cosine, Similarity

Score = Callable[[Tensor, Tensor], Tensor]
"""Images (n, d) and captions (m, d) to differentiable scores (n, m)."""


class Past(NamedTuple):
    """Embeddings of earlier batches, further negatives for this one (see queue.py)."""

    images: Tensor
    """(Q, d), without gradient."""
    captions: Tensor
    """(Q, d), without gradient."""
    image_ids: Tensor
    """(Q,)"""


class Contrast(NamedTuple):
    """Scores of a batch of B pairs; -inf in a matrix marks what is no negative."""

    right: Tensor
    """(B,): each pair's own score."""
    captions: Tensor
    """(B, N): for each image, the scores of wrong captions."""
    images: Tensor
    """(B, N): for each caption, the scores of wrong images."""


class ContrastiveLoss(nn.Module, Part):
    """`loss(images, captions, image_ids)` of embeddings (B, d), row i of both a pair, to a scalar.

    A loss of one's own needs `__init__(self, *, keys…)` and `forward`; the other methods say what
    some losses can do beside that. All processes of a training compute it of the whole batch.
    """

    similarity: Similarity = Cosine()

    def use(self, similarity: Similarity) -> None:
        """Told once before a training: how the model scores pairs."""
        self.similarity = similarity

    def set_progress(self, step: int, epoch: float) -> None:
        """Told before each update: `step` updates and `epoch` epochs (1.5: in the middle of the
        second) are done."""

    taught = False
    """Whether it learns from vectors known before the training, and is to be told them."""

    def learn_from(self, images: Tensor, captions: Tensor) -> None:
        """Told once before a training, if `taught`: known vectors (n_images, d) and
        (n_captions, e) of all that it trains on."""

    def see(self, caption_ids: Tensor) -> None:
        """Told before each batch, if `taught`: the rows (B,) of its captions among these."""

    @property
    def collapsed_value(self) -> float | None:
        """What it is an item where all embeddings have met in one point and it cannot move; None
        where that does not happen."""
        return None

    def forward(
        self, images: Tensor, captions: Tensor, image_ids: Tensor, past: Past | None = None
    ) -> Tensor:
        raise NotImplementedError


def contrast(
    score: Score,
    images: Tensor,
    captions: Tensor,
    image_ids: Tensor | None,
    mask_same_image: bool,
    past: Past | None = None,
) -> Contrast:
    """Right and wrong scores of pairs (B, d), in float32 at least, whatever autocast says.

    Wrong are all other items of the batch and then those of `past` (N = B + Q), but, with
    `mask_same_image`, none of the same image.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, captions = at_least_float32(images), at_least_float32(captions)
        scores = score(images, captions)
        right = scores.diagonal()
        own = _own(image_ids, len(scores), mask_same_image, scores.device)
        wrong = scores.masked_fill(own, -torch.inf)
        if past is None:
            return Contrast(right, wrong, wrong.T)
        past_captions = score(images, past.captions.to(images.dtype))
        past_images = score(past.images.to(images.dtype), captions).T
        if mask_same_image and image_ids is not None:
            seen = image_ids[:, None] == past.image_ids
            past_captions = past_captions.masked_fill(seen, -torch.inf)
            past_images = past_images.masked_fill(seen, -torch.inf)
        return Contrast(
            right,
            torch.cat([wrong, past_captions], 1),
            torch.cat([wrong.T, past_images], 1),
        )


def _own(image_ids: Tensor | None, n: int, mask_same_image: bool, device: torch.device) -> Tensor:
    """Bool (n, n): the diagonal and, where asked, the pairs of one image."""
    if mask_same_image and image_ids is not None:
        return image_ids[:, None] == image_ids
    return torch.eye(n, dtype=torch.bool, device=device)


def at_least_float32(rows: Tensor) -> Tensor:
    """Half precision, as autocast gives it, made float32."""
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
