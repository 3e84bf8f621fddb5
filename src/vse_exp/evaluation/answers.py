"""Right answers: which items are right for each query, and where a ranking puts them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Relevance:
    """The right items of each query of one direction, a row a right answer, ordered by query.

    `query`, `item` int64 (n,); `grade` float64 (n,) above 0; `paired` bool (n,): the data set's own
    pairs, where others may be judged right beside them. Every query has a right answer.
    """

    query: Tensor
    item: Tensor
    grade: Tensor
    paired: Tensor

    @classmethod
    def of(cls, query: Tensor, item: Tensor, grade: Tensor, paired: Tensor) -> Relevance:
        """The same from rows in any order."""
        order = torch.argsort(query, stable=True)
        return cls(query[order], item[order], grade[order], paired[order])

    def to(self, device: torch.device) -> Relevance:
        """The same on a device."""
        parts = (self.query, self.item, self.grade, self.paired)
        return Relevance(*(part.to(device) for part in parts))


def pair_relevance(caption_image: Tensor) -> tuple[Relevance, Relevance]:
    """Of annotation and of search, where the pairs of the data set are all that is right."""
    captions = torch.arange(len(caption_image), device=caption_image.device)
    ones = torch.ones(len(captions), dtype=torch.float64, device=captions.device)
    own = torch.ones_like(captions, dtype=torch.bool)
    return (
        Relevance.of(caption_image, captions, ones, own),
        Relevance(captions, caption_image, ones, own),
    )


@dataclass(frozen=True)
class Answers:
    """Where the right answers of each query stand: a row an answer, by query, the best first.

    `wrong` int64 (n,): how many wrong items score at least as much; `query` int64 (n,): its query,
    0 … n_queries - 1; `image` int64 (n_queries,): the image each query belongs to, the unit of
    resampling. `every`: all right answers are there, and not the best of each query alone.
    """

    wrong: np.ndarray
    query: np.ndarray
    image: np.ndarray
    grade: np.ndarray = field(default_factory=lambda: np.empty(0))
    paired: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    every: bool = False

    @classmethod
    def of_first(cls, ranks: Tensor | np.ndarray, image: np.ndarray | None = None) -> Answers:
        """From the 0-based rank of each query's best right answer."""
        wrong = np.asarray(torch.as_tensor(ranks).cpu())
        queries = np.arange(len(wrong))
        return cls(wrong, queries, queries if image is None else image)

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each query's answers begin, int64 (n_queries,)."""
        return np.flatnonzero(np.diff(self.query, prepend=-1))

    @cached_property
    def number(self) -> np.ndarray:
        """How many right answers each query has, int64 (n_queries,)."""
        return np.diff(np.append(self.starts, len(self.query)))

    @cached_property
    def place(self) -> np.ndarray:
        """0-based place of each answer among its query's answers, int64 (n,)."""
        return np.arange(len(self.query)) - self.starts[self.query]

    @cached_property
    def rank(self) -> np.ndarray:
        """0-based rank of each answer in the whole ranking, int64 (n,)."""
        return self.wrong + self.place

    @property
    def first(self) -> np.ndarray:
        """0-based rank of the best right answer of each query, int64 (n_queries,)."""
        return self.wrong[self.starts]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Values of answers (n,) added up by query (n_queries,)."""
        return np.bincount(self.query, values, minlength=len(self.starts))

    def consistent(self) -> bool:
        """Whether the parts fit each other, as those of a file may not."""
        n, steps = len(self.query), np.diff(self.query)
        return (
            {len(self.wrong), len(self.grade), len(self.paired)} == {n}
            and self.query[0] == 0
            and bool(np.isin(steps, (0, 1)).all())
            and len(self.image) == self.query[-1] + 1
            and min(self.wrong.min(), self.image.min()) >= 0
            and bool((self.grade > 0).all())
        )

    def where(self, chosen: np.ndarray, other: Answers) -> Answers:
        """These for the chosen queries, bool (n_queries,), and those of another ranking else."""
        rows = chosen[self.query]
        return replace(
            self,
            wrong=np.where(rows, self.wrong, other.wrong),
            grade=np.where(rows, self.grade, other.grade) if self.every else self.grade,
            paired=np.where(rows, self.paired, other.paired) if self.every else self.paired,
        )


def join_answers(parts: list[Answers], first_images: list[int]) -> Answers:
    """Those of several galleries as one, whose images count from `first_images` on."""
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(len(part.image) for part in parts)])
    return Answers(
        np.concatenate([part.wrong for part in parts]),
        np.concatenate([part.query + at for part, at in zip(parts, before, strict=False)]),
        np.concatenate([part.image + at for part, at in zip(parts, first_images, strict=True)]),
        np.concatenate([part.grade for part in parts]),
        np.concatenate([part.paired for part in parts]),
        parts[0].every,
    )


@dataclass(frozen=True)
class Ranks:
    """Answers of both directions, and the protocol that they were ranked under."""

    annotation: Answers
    search: Answers
    protocol: str = ""

    @property
    def n_images(self) -> int:
        """The images that the queries belong to."""
        return 1 + int(max(self.annotation.image.max(), self.search.image.max()))
