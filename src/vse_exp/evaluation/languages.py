"""Captions of several languages for the same images: each language by itself, and across."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch

from vse_exp.evaluation.answers import Answers, Relevance
from vse_exp.evaluation.metrics import STANDARD
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.ranks import rank_answers
from vse_exp.evaluation.rows import Rows
from vse_exp.similarity import SimilarityLike, find_similarity


def by_language(
    images: Rows,
    captions: Rows,
    caption_image: np.ndarray,
    languages: Sequence[str],
    similarity: SimilarityLike = "cosine",
) -> dict[str, dict[str, float]]:
    """The metrics of each language's captions alone, with the images that have any, over the whole
    split; `languages` (n_captions,)."""
    found = {}
    for language in _names(languages):
        own = np.flatnonzero(np.array(languages) == language)
        shown, mapping = np.unique(caption_image[own], return_inverse=True)
        result = evaluate_embeddings(images[shown], captions[own], mapping, similarity=similarity)
        found[language] = result.metrics
    return found


def translations(
    captions: Rows,
    caption_image: np.ndarray,
    languages: Sequence[str],
    similarity: SimilarityLike = "cosine",
) -> dict[str, dict[str, float]]:
    """`en → zh`: where an English caption, among all Chinese ones, finds those of its own image;
    R@K, median and mean rank. Captions whose image has none in the other language are no queries.

    Empty for a similarity in which two captions are not alike as two vectors are (order's).
    """
    if not find_similarity(similarity).inner_product:
        return {}
    found = {}
    of = {name: np.flatnonzero(np.array(languages) == name) for name in _names(languages)}
    for one, other in combinations(of, 2):
        shared = np.intersect1d(caption_image[of[one]], caption_image[of[other]])
        if not len(shared):
            continue
        first, second = (
            of[name][np.isin(caption_image[of[name]], shared)] for name in (one, other)
        )
        a, b = _same_image(caption_image[first], caption_image[second])
        grade, paired = (
            torch.ones(len(a), dtype=torch.float64),
            torch.ones(len(a), dtype=torch.bool),
        )
        there, back = rank_answers(
            captions[first],
            captions[second],
            np.zeros(len(second), np.int64),  # what is right is said by relevance
            similarity,
            relevance=(Relevance.of(a, b, grade, paired), Relevance.of(b, a, grade, paired)),
        )
        found |= {f"{one} → {other}": _figures(there), f"{other} → {one}": _figures(back)}
    return found


def _names(languages: Sequence[str]) -> list[str]:
    """The languages in order of appearance."""
    return list(dict.fromkeys(languages))


def _same_image(first: np.ndarray, second: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of places whose values are equal, without a table of first x second."""
    order = np.argsort(second, kind="stable")
    begin, end = (np.searchsorted(second[order], first, side) for side in ("left", "right"))
    number = end - begin
    a = np.repeat(np.arange(len(first)), number)
    within = np.arange(len(a)) - np.repeat(np.cumsum(number) - number, number)
    return torch.from_numpy(a), torch.from_numpy(order[np.repeat(begin, number) + within])


def _figures(answers: Answers) -> dict[str, float]:
    return {metric.name: metric(answers) for metric in STANDARD}
