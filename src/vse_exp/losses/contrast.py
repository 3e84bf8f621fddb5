"""What every contrastive loss starts from: the right scores and the wrong ones, both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vse_exp.parts import Part
from vse_exp.similarity import Cosine, Logit, Similarity

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
    """Scores of n pairs of a batch of B; -inf in a matrix marks what is no negative."""

    right: Tensor
    """(n,): each pair's own score."""
    captions: Tensor
    """(n, N): for each image, the scores of wrong captions."""
    images: Tensor
    """(n, N): for each caption, the scores of wrong images."""
    first: int = 0
    """Place in the batch of the first of these pairs."""


class ContrastiveLoss(nn.Module, Part):
    """`loss(images, captions, image_ids)` of embeddings (B, d), row i of both a pair, to a scalar.

    A loss of one's own needs `__init__(self, *, keys…)` and `forward`; the other methods say what
    some losses can do beside that. All processes of a training compute it of the whole batch, but
    one that is `by_rows` each of its own part.
    """

    similarity: Similarity = Cosine()
    by_rows = False
    """Whether it is a sum over the batch's pairs, and `forward` takes `own`, a slice of them: its
    value is then theirs, with all others as negatives."""

    def use(self, similarity: Similarity, logit: Logit | None = None) -> None:
        """Told once before a training: how the model scores pairs, and what the training that a
        pre-trained one comes from made of its scores."""
        self.similarity = similarity

    @property
    def logit(self) -> Logit | None:
        """What it makes of scores now; None: it has no temperature."""
        return None

    def set_progress(self, step: int, epoch: float) -> None:
        """Told before each update: `step` updates and `epoch` epochs (1.5: in the middle of the
        second) are done."""

    taught = False
    """Whether it learns from vectors known before the training, and is to be told them."""

    def learn_from(self, images: Tensor, captions: Tensor) -> None:
        """Told once before a training, if `taught`: known vectors (n_images, d) and
        (n_captions, e) of all that it trains on."""

    @property
    def learnt_from(self) -> Iterable[Tensor]:
        """Buffers that it was told alike in each process, so that none need be sent."""
        return ()

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


class PairLoss(ContrastiveLoss):
    """A sum over the batch's pairs of what `of_scores` makes of their right and wrong scores."""

    by_rows = True
    mask_same_image = True

    def score(self, images: Tensor, captions: Tensor) -> Tensor:
        """Scores (n, m) of images (n, d) and captions (m, d)."""
        return self.similarity(images, captions)

    def of_scores(self, scores: Contrast, batch: int) -> Tensor:
        """A scalar, of scores of some pairs or all of a batch of that size."""
        raise NotImplementedError

    def forward(
        self,
        images: Tensor,
        captions: Tensor,
        image_ids: Tensor | None = None,
        past: Past | None = None,
        own: slice | None = None,
    ) -> Tensor:
        """Images and captions (B, d), row i of both a pair; `image_ids` (B,). A scalar."""
        scores = contrast(self.score, images, captions, image_ids, self.mask_same_image, past, own)
        return self.of_scores(scores, len(images))


class CompositeLoss(ContrastiveLoss):
    """One that is made of others, which are told all that it is told."""

    @property
    def parts(self) -> Iterable[ContrastiveLoss]:
        """The others."""
        raise NotImplementedError

    @property
    def by_rows(self) -> bool:
        return all(loss.by_rows for loss in self.parts)

    def use(self, similarity: Similarity, logit: Logit | None = None) -> None:
        for loss in self.parts:
            loss.use(similarity, logit)

    @property
    def logit(self) -> Logit | None:
        return next((loss.logit for loss in self.parts if loss.logit), None)

    def set_progress(self, step: int, epoch: float) -> None:
        for loss in self.parts:
            loss.set_progress(step, epoch)

    @property
    def taught(self) -> bool:
        return any(loss.taught for loss in self.parts)

    def learn_from(self, images: Tensor, captions: Tensor) -> None:
        for loss in self.parts:
            loss.learn_from(images, captions)

    @property
    def learnt_from(self) -> Iterable[Tensor]:
        return [buffer for loss in self.parts for buffer in loss.learnt_from]

    def see(self, caption_ids: Tensor) -> None:
        for loss in self.parts:
            loss.see(caption_ids)


def contrast(
    score: Score,
    images: Tensor,
    captions: Tensor,
    image_ids: Tensor | None,
    mask_same_image: bool,
    past: Past | None = None,
    own: slice | None = None,
) -> Contrast:
    """Right and wrong scores of pairs (B, d), in float32 at least, whatever autocast says; with
    `own` those of these pairs alone.

    Wrong are all other items of the batch and then those of `past` (N = B + Q), but, with
    `mask_same_image`, none of the same image.
    """
    with torch.autocast(images.device.type, enabled=False):
        images, captions = at_least_float32(images), at_least_float32(captions)
        first = 0 if own is None else own.start
        rows = images if own is None else images[own]
        scores = score(rows, captions)
        others = scores.T if own is None else score(images, captions[own]).T
        right = scores.diagonal(first)
        excluded = _excluded(image_ids, first, scores, mask_same_image)
        scores, others = (each.masked_fill(excluded, -torch.inf) for each in (scores, others))
        if past is not None:
            columns = captions if own is None else captions[own]
            past_captions = score(rows, past.captions.to(images.dtype))
            past_images = score(past.images.to(images.dtype), columns).T
            if mask_same_image and image_ids is not None:
                seen = image_ids[first : first + len(rows), None] == past.image_ids
                past_captions = past_captions.masked_fill(seen, -torch.inf)
                past_images = past_images.masked_fill(seen, -torch.inf)
            scores = torch.cat([scores, past_captions], 1)
            others = torch.cat([others, past_images], 1)
        return Contrast(right, scores, others, first)


def _excluded(image_ids: Tensor | None, first: int, scores: Tensor, same_image: bool) -> Tensor:
    """Bool like `scores` (n, B), those of the batch's pairs from `first` on: the pairs themselves
    and, where asked, all of one image."""
    rows, count = scores.shape
    if same_image and image_ids is not None:
        return image_ids[first : first + rows, None] == image_ids
    places = torch.arange(count, device=scores.device)
    return places[first : first + rows, None] == places


def at_least_float32(rows: Tensor) -> Tensor:
    """Half precision, as autocast gives it, made float32."""
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
