"""Losses that learn from vectors known before the training: of teachers, or of frozen models.

Each is one term of a sum, beside a contrastive loss (conf/loss/distilled.yaml and others).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, normalize

from vse_exp.errors import UserError
from vse_exp.losses.contrast import ContrastiveLoss, Past, at_least_float32
from vse_exp.schema import Positive, Size


class TaughtLoss(ContrastiveLoss):
    """Compares a batch with what `learn_from` was told of its images and captions.

    The vectors of one side may live in a space of their own, where a loss compares images with
    images and captions with captions alone.
    """

    taught = True
    known_images: Tensor | None
    known_captions: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        # buffers, to be where the batch is, which no checkpoint holds
        self.register_buffer("known_images", None, persistent=False)
        self.register_buffer("known_captions", None, persistent=False)

    def learn_from(self, images: Tensor, captions: Tensor) -> None:
        self.known_images, self.known_captions = images, captions

    @property
    def learnt_from(self) -> Iterable[Tensor]:
        return [rows for rows in (self.known_images, self.known_captions) if rows is not None]

    def see(self, caption_ids: Tensor) -> None:
        self.caption_ids = caption_ids

    def known(self, image_ids: Tensor) -> tuple[Tensor, Tensor]:
        """The known vectors (B, d) and (B, e) of the batch's images and captions."""
        if self.known_images is None or self.known_captions is None:
            raise UserError(
                f"{type(self).__name__} learns from vectors known before: set teachers=[FILE.ckpt] "
                "or teachers=frozen."
            )
        return self.known_images[image_ids], self.known_captions[self.caption_ids]

    def forward(
        self, images: Tensor, captions: Tensor, image_ids: Tensor, past: Past | None = None
    ) -> Tensor:
        """Images and captions (B, d), row i of both a pair; `image_ids` (B,). A scalar."""
        with torch.autocast(images.device.type, enabled=False):
            known = (rows.to(images.dtype) for rows in self.known(image_ids))
            return self.compare(at_least_float32(images), at_least_float32(captions), *known)

    def compare(
        self, images: Tensor, captions: Tensor, known_images: Tensor, known_captions: Tensor
    ) -> Tensor:
        raise NotImplementedError


class DistillationLoss(TaughtLoss):
    """The scores of the batch like those of its teachers, which are the mean of theirs.

    Without `temperature` the mean Huber loss between the two (B, B) (TeachText, Croitoru et al.
    2021, eq. 3); with one the cross-entropy of the softmax of both over it, as mean of both
    directions (Hinton et al. 2015).
    """

    def __init__(self, *, temperature: Positive | None = None) -> None:
        super().__init__()
        self.temperature = temperature

    def compare(
        self, images: Tensor, captions: Tensor, known_images: Tensor, known_captions: Tensor
    ) -> Tensor:
        ours = self.similarity(images, captions)
        theirs = self.similarity(known_images, known_captions)
        if self.temperature is None:
            return huber_loss(ours, theirs)
        pairs = (ours, theirs), (ours.T, theirs.T)
        return torch.stack([soft_cross_entropy(*pair, self.temperature) for pair in pairs]).mean()


class SoftTargetsLoss(TaughtLoss):
    """Soft targets from similarities inside each side (CUSA, Huang et al. 2024).

    Where two images are alike, the caption of the one is half right for the other: the softmax of
    the known similarities of images is the target of the scores from images to captions, and that
    of captions of those from captions to images (`cross`, its CSA); with the weight `within` they
    are also the target of the similarities inside each side (its USA). Cross-entropies, which is
    their KL divergence up to a constant.
    """

    def __init__(
        self,
        *,
        temperature: Positive = 0.05,
        known_temperature: Positive = 0.05,
        within: float = 0.0,
    ) -> None:
        super().__init__()
        self.temperature, self.known_temperature = temperature, known_temperature
        self.within = within

    def compare(
        self, images: Tensor, captions: Tensor, known_images: Tensor, known_captions: Tensor
    ) -> Tensor:
        scores = self.similarity(images, captions)
        total = scores.new_zeros(())
        for known, across, inside in (
            (known_images, scores, images),
            (known_captions, scores.T, captions),
        ):
            targets = cosines(known)
            total = total + self._term(across, targets)
            if self.within:
                total = total + self.within * self._term(cosines(inside), targets)
        return total / 2

    def _term(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return soft_cross_entropy(ours, theirs, self.temperature, self.known_temperature)


class StructureLoss(TaughtLoss):
    """Keeps the neighbourhoods of the known spaces (STRUCTURE, Groeger et al. 2025).

    P is the softmax over the batch of a side's inner products, of unit vectors less their mean,
    divided by `temperature`, once of the known vectors and once of ours; the Jensen-Shannon
    divergence of their l-th powers, neighbours of neighbours, is averaged over l = 1 … `levels`,
    each divided by l, and over both sides. (Its program takes the divergence of the middle from
    both for that of both from the middle.)
    """

    def __init__(self, *, temperature: Positive = 0.05, levels: Size = 1) -> None:
        super().__init__()
        self.temperature, self.levels = temperature, levels

    def compare(
        self, images: Tensor, captions: Tensor, known_images: Tensor, known_captions: Tensor
    ) -> Tensor:
        sides = (images, known_images), (captions, known_captions)
        return torch.stack([self._difference(*side) for side in sides]).mean()

    def _difference(self, ours: Tensor, theirs: Tensor) -> Tensor:
        first, second = self._neighbours(ours), self._neighbours(theirs)
        p, q, total = first, second, ours.new_zeros(())
        for level in range(1, self.levels + 1):
            if level > 1:
                p, q = p @ first, q @ second
            total = total + jensen_shannon(p, q) / level
        return total / self.levels

    def _neighbours(self, rows: Tensor) -> Tensor:
        unit = normalize(rows, dim=-1)
        centred = unit - unit.mean(0)
        return (centred @ centred.T / self.temperature).softmax(1)


def cosines(rows: Tensor) -> Tensor:
    """Cosines (n, n) of rows (n, d)."""
    unit = normalize(rows, dim=-1)
    return unit @ unit.T


def soft_cross_entropy(
    ours: Tensor, theirs: Tensor, temperature: float, known_temperature: float | None = None
) -> Tensor:
    """Mean cross-entropy of the rows' softmax with that of `theirs` as target."""
    targets = (theirs / (known_temperature or temperature)).softmax(1)
    return -(targets * (ours / temperature).log_softmax(1)).sum(1).mean()


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Mean divergence of distributions (n, m), in nats, of 0 to log 2."""
    middle = (p + q) / 2
    return (
        (torch.special.entr(middle) - (torch.special.entr(p) + torch.special.entr(q)) / 2)
        .sum(1)
        .mean()
    )
