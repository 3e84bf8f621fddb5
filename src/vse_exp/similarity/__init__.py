"""How alike an image and a caption are, by their embeddings: one file a similarity."""

from __future__ import annotations

from vse_exp.errors import UserError
from vse_exp.similarity.base import Logit, Similarity
from vse_exp.similarity.cosine import Cosine
from vse_exp.similarity.order import Order

__all__ = ["Cosine", "Logit", "Order", "Similarity", "SimilarityLike", "find_similarity"]


SimilarityLike = Similarity | str
"""A similarity, or the name of one of ours."""


def find_similarity(which: SimilarityLike) -> Similarity:
    """A similarity as it is, or vse_exp's own by the name of its class, in any case.

    UserError lists those.
    """
    if isinstance(which, Similarity):
        return which
    known = {each.__name__.lower(): each for each in (Cosine, Order)}
    if which.lower() not in known:
        raise UserError(f"Unknown similarity {which!r}: choose one of {', '.join(known)}.")
    return known[which.lower()]()
