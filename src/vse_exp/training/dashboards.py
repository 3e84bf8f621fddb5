"""What dashboards show beside curves: queries with their answers, ranks, the best model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from vse_exp.data.layouts import Split
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.neighbours import best_captions, best_images
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.models.dual import DualEncoder
from vse_exp.similarity import SimilarityLike

QUERIES = 16
TOP = 5


class Answer(NamedTuple):
    """An item that was found: its row, whether it is right, its score."""

    row: int
    right: bool
    score: float

    @property
    def mark(self) -> str:
        return f"{'✓' if self.right else '✗'} {self.score:.2f}"


class Answers(NamedTuple):
    """Some queries of a split with the TOP items found for each, and the 0-based ranks of all.

    `annotation` is by the rows of images and finds captions, `search` by those of captions;
    `picture(row)` gives the PIL picture of an image where pictures are at hand.
    """

    split: Split
    annotation: dict[int, list[Answer]]
    search: dict[int, list[Answer]]
    annotation_ranks: Tensor
    search_ranks: Tensor
    picture: Callable[[int], Any] | None


class Dashboard:
    """What a logger may show beside Lightning's numbers and config; each method by default nothing.

    A logger of one's own needs none of this: derive from it, before Lightning's Logger, for what
    it can show.
    """

    def start(self) -> None:
        """Before the training."""

    def show_answers(self, answers: Answers, step: int) -> None:
        """After it, with the best model."""

    def keep_best(self, checkpoint: Path, metrics: dict[str, float]) -> None:
        """The best model, and what it reached on dev."""

    def finish(self) -> None:
        """At the end, also after an error."""


def start_loggers(loggers: Sequence[Logger], config: dict[str, Any]) -> None:
    """The beginning to dashboards, and the resolved config to every logger."""
    for logger in loggers:
        if isinstance(logger, Dashboard):
            logger.start()
        logger.log_hyperparams(config)


def log_answers(
    loggers: Sequence[Logger],
    model: DualEncoder,
    split: Split,
    picture: Callable[[int], Any] | None,
    best: Path,
    metrics: dict[str, float],
    step: int,
) -> None:
    """Queries with their answers, ranks and the best model to all dashboards."""
    dashboards = [logger for logger in loggers if isinstance(logger, Dashboard)]
    if not dashboards:
        return
    images, captions = embed_split(model, split)
    answers = find_answers(images, captions, split, model.similarity, picture)
    for dashboard in dashboards:
        dashboard.show_answers(answers, step)
        dashboard.keep_best(best, metrics)


def finish_loggers(loggers: Sequence[Logger]) -> None:
    for logger in loggers:
        if isinstance(logger, Dashboard):
            logger.finish()


def find_answers(
    images: Tensor,
    captions: Tensor,
    split: Split,
    similarity: SimilarityLike,
    picture: Callable[[int], Any] | None = None,
) -> Answers:
    """The answers among the embeddings (n_images, d) and (n_captions, d) of a split."""
    mapping = torch.from_numpy(split.caption_image)
    ranks = evaluate_embeddings(images, captions, mapping, similarity=similarity)
    chosen = _evenly(len(images))
    found = zip(*best_captions(images[chosen], captions, TOP, similarity), strict=True)
    annotation = {
        image: [
            Answer(row, bool(mapping[row] == image), score)
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
        ]
        for image, (scores, rows) in zip(chosen, found, strict=True)
    }
    chosen = _evenly(len(captions))
    found = zip(*best_images(images, captions[chosen], TOP, similarity), strict=True)
    search = {
        caption: [
            Answer(row, bool(mapping[caption] == row), score)
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
        ]
        for caption, (scores, rows) in zip(chosen, found, strict=True)
    }
    return Answers(split, annotation, search, ranks.annotation_ranks, ranks.search_ranks, picture)


def _evenly(count: int) -> list[int]:
    """Evenly spread rows."""
    return torch.linspace(0, count - 1, min(QUERIES, count)).long().tolist()
