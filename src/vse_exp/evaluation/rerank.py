"""Re-ranking that needs no training: against hubs, items that are near to very many queries.

All of these add to each gallery item a number that does not depend on the query, so ranks stay
exact and chunked. The number comes from scores with a bank of queries: another split's, which is
named; or, where no bank is given, all queries of the evaluation, which a system that answers one
query at a time does not have. Off by default: a label says what was done, beside the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Answers
from vse_exp.evaluation.blocks import Block, in_blocks, score_blocks
from vse_exp.evaluation.neighbours import best_captions, best_images
from vse_exp.evaluation.ranks import rank_answers
from vse_exp.evaluation.rows import rows_of_both
from vse_exp.similarity import SimilarityLike, find_similarity


@dataclass(frozen=True)
class Bank:
    """Queries that stand for those to come: embeddings of images and captions, and their name."""

    name: str
    images: Tensor
    captions: Tensor


@dataclass(frozen=True)
class Rerank:
    """One way of re-ranking; `bank` None: the queries of the evaluation themselves."""

    bank: Bank | None = None

    def label(self) -> str:
        """What was done, for the protocol."""
        over = "the evaluated queries" if self.bank is None else f"bank {self.bank.name}"
        return f"re-ranked by {self.describe()} over {over}"

    def describe(self) -> str:
        """The method with its numbers."""
        raise NotImplementedError

    def offsets(
        self, images: Tensor, captions: Tensor, similarity: SimilarityLike
    ) -> tuple[Tensor, Tensor]:
        """What is added to the scores of captions (n_captions,) and of images (n_images,)."""
        raise NotImplementedError

    def rank(
        self,
        images: Tensor,
        captions: Tensor,
        caption_image: Tensor,
        similarity: SimilarityLike,
        **options: Any,
    ) -> tuple[Answers, Answers]:
        """As `rank_answers`, after re-ranking."""
        offsets = self.offsets(images, captions, similarity)
        return rank_answers(images, captions, caption_image, similarity, offsets=offsets, **options)

    def _queries(self, images: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        """The images and captions that act as queries."""
        return (images, captions) if self.bank is None else (self.bank.images, self.bank.captions)


@dataclass(frozen=True)
class NNN(Rerank):
    """`s(q, g) - alpha r(g)`, r the mean of the k best scores: nearest-neighbour normalisation
    (Chowdhury et al. 2024, section 3)."""

    k: int = 32
    alpha: float = 0.75

    def describe(self) -> str:
        return f"nearest-neighbour normalisation (k={self.k}, alpha={self.alpha:g})"

    def offsets(
        self, images: Tensor, captions: Tensor, similarity: SimilarityLike
    ) -> tuple[Tensor, Tensor]:
        query_images, query_captions = self._queries(images, captions)
        of_captions, _ = best_images(query_images, captions, self.k, similarity)
        of_images, _ = best_captions(images, query_captions, self.k, similarity)
        return -self.alpha * of_captions.double().mean(1), -self.alpha * of_images.double().mean(1)


@dataclass(frozen=True)
class CSLS(NNN):
    """`2 s(q, g) - r(q) - r(g)`, r the mean of the k best scores (Conneau et al. 2018, eq. 3).

    r(q) is the same for all items of a query's gallery, and without it half of this is NNN's.
    """

    k: int = 10
    alpha: float = 0.5

    def describe(self) -> str:
        return f"CSLS (k={self.k})"


@dataclass(frozen=True)
class InvertedSoftmax(Rerank):
    """`exp(b s(q, g)) / sum over queries q' of exp(b s(q', g))` (Smith et al. 2017, eq. 6)."""

    beta: float = 20.0
    share: ClassVar[float] = 1.0
    """Of the logarithm of that sum, how much counts against an item."""

    def describe(self) -> str:
        return f"inverted softmax (beta={self.beta:g})"

    def offsets(
        self, images: Tensor, captions: Tensor, similarity: SimilarityLike
    ) -> tuple[Tensor, Tensor]:
        query_images, query_captions = self._queries(images, captions)
        of_captions = _log_sums(query_images, captions, self.beta, similarity)[1]
        of_images = _log_sums(images, query_captions, self.beta, similarity)[0]
        weight = self.share / self.beta
        return -weight * of_captions, -weight * of_images


@dataclass(frozen=True)
class DualSoftmax(InvertedSoftmax):
    """The softmax over the gallery times that over the queries (Sun et al. 2021, section 3.3)."""

    share: ClassVar[float] = 0.5

    def describe(self) -> str:
        return f"dual softmax (beta={self.beta:g})"


@dataclass(frozen=True)
class QueryBank(InvertedSoftmax):
    """Query-bank normalisation with the dynamic inverted softmax (Bogolin et al. 2022, eq. 5).

    Inverted softmax over a bank, but only for queries whose best item is also the best one of some
    query of the bank; the others keep their ranks. Needs a bank.
    """

    def __post_init__(self) -> None:
        if self.bank is None:
            raise UserError("Query-bank normalisation needs a bank: name a split to take it from.")

    def describe(self) -> str:
        return f"query-bank normalisation (dynamic, beta={self.beta:g})"

    def rank(
        self,
        images: Tensor,
        captions: Tensor,
        caption_image: Tensor,
        similarity: SimilarityLike,
        **options: Any,
    ) -> tuple[Answers, Answers]:
        plain = rank_answers(images, captions, caption_image, similarity, **options)
        changed = super().rank(images, captions, caption_image, similarity, **options)
        query_images, query_captions = self._queries(images, captions)
        hit_captions = best_captions(query_images, captions, 1, similarity)[1]
        hit_images = best_images(images, query_captions, 1, similarity)[1]
        active = (
            torch.isin(best_captions(images, captions, 1, similarity)[1][:, 0], hit_captions),
            torch.isin(best_images(images, captions, 1, similarity)[1][:, 0], hit_images),
        )
        annotation, search = (
            after.where(where.cpu().numpy(), before)
            for where, after, before in zip(active, changed, plain, strict=True)
        )
        return annotation, search


RERANKS: dict[str, type[Rerank]] = {
    "csls": CSLS,
    "nnn": NNN,
    "inverted_softmax": InvertedSoftmax,
    "dual_softmax": DualSoftmax,
    "query_bank": QueryBank,
}


def find_rerank(name: str, bank: Bank | None = None) -> Rerank:
    """The re-ranking called `name` with its usual numbers; UserError lists those that exist."""
    if name not in RERANKS:
        raise UserError(f"Unknown re-ranking {name!r}: choose one of {', '.join(RERANKS)}.")
    return RERANKS[name](bank)


@torch.no_grad()
def _log_sums(
    images: Tensor, captions: Tensor, beta: float, similarity: SimilarityLike
) -> tuple[Tensor, Tensor]:
    """Float64 log-sums of `exp(beta s)`: for each image over the captions, and the other way."""
    images, captions = rows_of_both(images, captions)
    score = find_similarity(similarity)

    def add_up(block: Block) -> tuple[Tensor, Tensor]:
        of_images, of_captions = (
            rows.new_full((len(rows),), -torch.inf, dtype=torch.float64)
            for rows in (images, captions)
        )
        for i, j, scores, scaled in score_blocks(score, images, captions, block):
            torch.mul(scores, beta, out=scaled)
            of_images[i] = torch.logaddexp(of_images[i], scaled.logsumexp(1).double())
            of_captions[j] = torch.logaddexp(of_captions[j], scaled.logsumexp(0).double())
        return of_images, of_captions

    return in_blocks(add_up, images.device)
