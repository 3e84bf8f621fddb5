"""What every contrastive loss starts from: the right scores and the wrong ones, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from vse_exp.losses.order import order_scores
from vse_exp.similarity import find_similarity

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


@runtime_checkable
class Scheduled(Protocol):
    """A loss that changes during training: it is told before each update how far that is."""

    def set_progress(self, step: int, epoch: float) -> None:
        """`step` updates and `epoch` epochs (1.5: in the middle of the second) are done."""


def find_score(similarity: str) -> Score:
    """The differentiable scores of a similarity by name; UserError lists those that exist."""
    return order_scores if similarity == "order" else find_similarity(similarity)


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
