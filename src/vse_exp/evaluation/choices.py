"""Tests of choice: which caption is the image's, among a right one and wrong ones made like it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.errors import UserError
from vse_exp.evaluation.judgements import pair_scores
from vse_exp.evaluation.perturbations import PERTURBATIONS, perturb
from vse_exp.evaluation.rows import Rows
from vse_exp.evaluation.statistics import bootstrap_mean
from vse_exp.files import parse_json, read_json, read_lines
from vse_exp.similarity import SimilarityLike

Encode = Callable[[list[str]], np.ndarray]
TIE = 1e-5
"""Scores nearer than this are equal: encoders add up words in float32, in the order they come."""


@dataclass(frozen=True)
class Choice:
    """The share of choices that are right, in percent, with its interval over images; that of ties,
    which count as wrong; what guessing gives; and how many choices there are."""

    accuracy: float
    low: float
    high: float
    ties: float
    chance: float
    n: int


@dataclass(frozen=True)
class Question:
    """Images (rows) and captions that belong together one to one; `wrong`: further captions."""

    images: tuple[int, ...]
    right: tuple[str, ...]
    wrong: tuple[str, ...] = ()


def order_tests(
    images: Rows,
    captions: Rows,
    texts: Sequence[str],
    caption_image: np.ndarray,
    encode: Encode,
    similarity: SimilarityLike = "cosine",
    seed: int = 0,
) -> dict[str, Choice]:
    """Each caption against itself perturbed, by perturbation; `encode` gives captions' vectors."""
    results = {}
    for name in PERTURBATIONS:
        changed = perturb(name, texts, seed)
        rows = np.array([row for row, text in enumerate(changed) if text is not None])
        if not len(rows):
            continue
        vectors = encode([text for text in changed if text is not None])
        image = np.asarray(caption_image)[rows]
        right = pair_scores(images, captions, image, rows, similarity)
        wrong = pair_scores(images, vectors, image, np.arange(len(rows)), similarity)
        results[name] = _choice(right - wrong, image, 0.5)
    return results


def read_questions(path: str | os.PathLike[str], images: Mapping[str, int]) -> list[Question]:
    """Questions of a file, whose images are named as in `images` (name to row).

    SugarCrepe's `.json` (number to filename, caption, negative_caption); `.jsonl` lines of image,
    caption and wrong (a list), or of image_0, image_1, caption_0 and caption_1 (Winoground).
    UserError, with the place, for anything else, and for an image that is not of the split.
    """
    if Path(path).suffix == ".jsonl":
        lines = enumerate(read_lines(path), start=1)
        entries = [(f"line {n}", parse_json(line, path, n)) for n, line in lines]
    else:
        content = read_json(path)
        entries = list(content.items()) if isinstance(content, dict) else []
    questions = []
    for place, entry in entries:
        found = _question(entry) if isinstance(entry, dict) else None
        if found is None:
            raise UserError(
                f"{path} {place} is no question: it needs image (or filename), caption and wrong "
                "(or negative_caption), or image_0, image_1, caption_0 and caption_1."
            )
        names, right, wrong = found
        unknown = [name for name in names if name not in images]
        if unknown:
            raise UserError(f"{path} {place}: no image {unknown[0]} in this split.")
        questions.append(Question(tuple(images[name] for name in names), right, wrong))
    if not questions:
        raise UserError(f"{path} holds no questions.")
    return questions


def _question(
    entry: Mapping[str, Any],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] | None:
    parts: list[Any] = [entry.get(key) for key in ("image_0", "image_1", "caption_0", "caption_1")]
    if all(isinstance(part, str) for part in parts):
        return (parts[0], parts[1]), (parts[2], parts[3]), ()
    wrong = entry.get("wrong", entry.get("negative_caption"))
    wrong = [wrong] if isinstance(wrong, str) else wrong
    image, caption = entry.get("image", entry.get("filename")), entry.get("caption")
    if not isinstance(wrong, list) or not wrong:
        return None
    if not all(isinstance(part, str) for part in (image, caption, *wrong)):
        return None
    return (str(image),), (str(caption),), tuple(wrong)


def answer_questions(
    questions: Sequence[Question],
    images: Rows,
    encode: Encode,
    similarity: SimilarityLike = "cosine",
) -> dict[str, Choice]:
    """`choices`: the right caption above all wrong ones; and, of two images and two captions,
    `text`, `image` and `group` (Thrush et al. 2022, eq. 1 to 3)."""
    texts = list(dict.fromkeys(chain.from_iterable((*q.right, *q.wrong) for q in questions)))
    row_of = {text: row for row, text in enumerate(texts)}
    vectors = encode(texts)
    pairs = [
        (image, row_of[text])
        for question in questions
        for image in question.images
        for text in (*question.right, *question.wrong)
    ]
    rows, columns = np.array(pairs).T
    scores = iter(pair_scores(images, vectors, rows, columns, similarity))
    margins: dict[str, list[tuple[float, int, float]]] = {}
    for question in questions:
        n_texts, n_images = len(question.right) + len(question.wrong), len(question.images)
        table = np.array([next(scores) for _ in range(n_images * n_texts)]).reshape(n_images, -1)
        image = question.images[0]
        if n_images == 1:
            margin = table[0, 0] - table[0, 1:].max()
            margins.setdefault("choices", []).append((margin, image, 1 / n_texts))
            continue
        text = min(table[0, 0] - table[0, 1], table[1, 1] - table[1, 0])
        picture = min(table[0, 0] - table[1, 0], table[1, 1] - table[0, 1])
        for name, margin, chance in (
            ("text", text, 1 / 4), ("image", picture, 1 / 4), ("group", min(text, picture), 1 / 6)
        ):  # fmt: skip
            margins.setdefault(name, []).append((margin, image, chance))
    return {
        name: _choice(*(np.array(part) for part in zip(*rows, strict=True)))
        for name, rows in margins.items()
    }


def _choice(margin: np.ndarray, image: np.ndarray, chance: np.ndarray | float) -> Choice:
    right = margin > TIE
    low, high = bootstrap_mean(right, image)
    return Choice(
        100 * float(right.mean()),
        100 * low,
        100 * high,
        100 * float((np.abs(margin) <= TIE).mean()),
        100 * float(np.mean(chance)),
        len(margin),
    )
