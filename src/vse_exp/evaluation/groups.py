"""Where two models differ: recalls of kinds of captions, side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vse_exp.evaluation.perturbations import LEFT_RIGHT, RELATIONS
from vse_exp.text.tokenizers import Multilingual

K = 10
"""A caption is found where its image is among the first so many."""
LEAST = 10
"""Captions that a word must be in."""
Ranks = tuple[np.ndarray, np.ndarray]
"""0-based ranks of every caption's image (n_captions,), of both models."""


@dataclass(frozen=True)
class Group:
    """Captions of a kind: how many there are, and R@1 and R@10 in percent, of each model."""

    kind: str
    name: str
    n: tuple[int, int]
    first: tuple[float, float]
    found: tuple[float, float]

    @classmethod
    def of(cls, kind: str, name: str, ranks: Ranks, chosen: Sequence[np.ndarray]) -> Group:
        """`chosen`: bool (n_captions,) for each model."""
        own = [rank[rows] for rank, rows in zip(ranks, chosen, strict=True)]
        first, found = (
            tuple(100 * float((one < k).mean()) if len(one) else 0.0 for one in own) for k in (1, K)
        )
        return cls(kind, name, (len(own[0]), len(own[1])), first, found)  # pyright: ignore[reportArgumentType]

    @property
    def gain(self) -> float:
        """By how much the second model finds more."""
        return self.found[1] - self.found[0]


def by_length(captions: Sequence[str], ranks: Ranks, parts: int = 5) -> list[Group]:
    """By number of words, in about equal parts."""
    lengths = np.array([len(_words(caption)) for caption in captions])
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, parts + 1), method="nearest"))
    edges[-1] += 1
    if len(edges) == 1:
        edges = np.array([edges[0] - 1, edges[0]])
    return [
        _alike("words", f"{low}" if low == high - 1 else f"{low} to {high - 1}", ranks, rows)
        for low, high in pairwise(edges)
        if (rows := (lengths >= low) & (lengths < high)).any()
    ]


def by_word(captions: Sequence[str], ranks: Ranks, least: int = LEAST) -> list[Group]:
    """By words that at least so many captions have, the most frequent first."""
    rows_of: dict[str, list[int]] = {}
    for row, caption in enumerate(captions):
        for word in set(_words(caption)):
            rows_of.setdefault(word, []).append(row)
    often = [(word, rows) for word, rows in rows_of.items() if len(rows) >= least]
    often.sort(key=lambda one: (-len(one[1]), one[0]))
    return [_alike("word", word, ranks, np.array(rows)) for word, rows in often]


def by_relation(captions: Sequence[str], ranks: Ranks) -> list[Group]:
    """By words of place and direction."""
    names = sorted({*RELATIONS, *LEFT_RIGHT}, key=len, reverse=True)
    pattern = re.compile(rf"\b({'|'.join(names)})\b")
    found = [set(pattern.findall(caption.lower())) for caption in captions]
    groups = (
        _alike("relation", name, ranks, rows)
        for name in sorted(names)
        if (rows := np.array([name in one for one in found])).any()
    )
    return sorted(groups, key=lambda group: -group.n[0])


def by_language(languages: Sequence[str], ranks: Ranks) -> list[Group]:
    """By language, where there are several; the gallery stays whole."""
    names = list(dict.fromkeys(languages))
    return [
        _alike("language", name, ranks, np.array(languages) == name)
        for name in (names if len(names) > 1 else ())
    ]


def by_hubness(occurrence: Ranks, caption_image: np.ndarray, ranks: Ranks) -> list[Group]:
    """By how many captions have the image among their first ten, against the mean of all images:
    `occurrence` (n_images,) of each model, in which an image may be a hub for one alone."""
    shares = [counts[caption_image] / counts.mean() for counts in occurrence]
    bounds = (("never", -1, 0), ("up to ½", 0, 0.5), ("½ to 1", 0.5, 1), ("1 to 2", 1, 2),
              ("above 2", 2, np.inf))  # fmt: skip
    return [
        Group.of("found by others", name, ranks, [(s > low) & (s <= high) for s in shares])
        for name, low, high in bounds
    ]


def table(groups: Iterable[Group]) -> Iterator[list[str | float]]:
    """Rows of a CSV, the first of which names the columns."""
    yield ["kind", "group", "a_captions", "b_captions", "a_R@1", "b_R@1", "a_R@10", "b_R@10"]
    for one in groups:
        figures = [round(value, 2) for value in (*one.first, *one.found)]
        yield [one.kind, one.name, *one.n, *figures]


def _alike(kind: str, name: str, ranks: Ranks, rows: np.ndarray) -> Group:
    return Group.of(kind, name, ranks, (rows, rows))


_words = Multilingual(language=None, ngram=1)
