"""Right answers beyond the data set's pairs, read from files of judgements."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Relevance, pair_relevance
from vse_exp.files import parse_json, read_lines

QUERY, ITEM, GRADE = ("query", "query-id"), ("item", "corpus-id"), ("grade", "score")
"""Keys of a JSONL line: ours, and those of BEIR and MTEB."""
Judgement = tuple[str, str, float, int]
"""Query, item, grade, and the line of the file."""


@dataclass(frozen=True)
class Ids:
    """What a file calls the items of a split: an image by its file name (its row from 0 where the
    split has no names), a caption by `image#k`, k its place among the image's captions from 0."""

    images: dict[str, int]
    captions: dict[str, int]

    @classmethod
    def of(cls, image_names: Sequence[str] | None, caption_image: np.ndarray) -> Ids:
        """Those of a split."""
        n_images = int(np.max(caption_image)) + 1
        names = list(map(str, range(n_images))) if image_names is None else list(image_names)
        seen = [0] * len(names)
        captions = {}
        for row, image in enumerate(np.asarray(caption_image).tolist()):
            captions[f"{names[image]}#{seen[image]}"] = row
            seen[image] += 1
        return cls({name: row for row, name in enumerate(names)}, captions)


def read_relevance(
    path: str | os.PathLike[str], ids: Ids, caption_image: np.ndarray | Tensor
) -> tuple[Relevance, Relevance]:
    """Right answers of annotation and of search: the pairs, and what a file judges right.

    `.jsonl`: an object a line with query, item and grade (or query-id, corpus-id and score);
    `.tsv`: these with tabs between, a heading or not; else TREC's qrels, `query 0 item grade`, or
    the crowd's judgements of Flickr8k, of which the pairs with more yes than no are right. A grade
    of 0 or less is not right; none is 1. Lines whose query is an image are of annotation, the
    others of search; where one kind is missing the other serves both ways. The data set's own pairs
    stay right, with the file's best grade where it has none for them. Lines of other images are
    passed over. UserError, with the line, for what is none of these, and where nothing fits.
    """
    both: tuple[dict[tuple[int, int], float], ...] = ({}, {})
    for query, item, grade, _ in read_judgements_of_relevance(path):
        for direction, queries, items in (
            (0, ids.images, ids.captions),
            (1, ids.captions, ids.images),
        ):
            if query in queries and item in items:
                both[direction][queries[query], items[item]] = grade
    if not both[0] and not both[1]:
        raise UserError(
            f"{path} judges no image and caption of this split: its ids must be image file names "
            f"such as {next(iter(ids.images))} and captions such as {next(iter(ids.captions))}."
        )
    for one, other in (both, both[::-1]):
        if not one:
            one.update({(item, query): grade for (query, item), grade in other.items()})
    mapping = torch.as_tensor(np.asarray(caption_image))
    annotation, search = (
        _with_judged(pairs, judged)
        for pairs, judged in zip(pair_relevance(mapping), both, strict=True)
    )
    return annotation, search


def _with_judged(pairs: Relevance, judged: dict[tuple[int, int], float]) -> Relevance:
    own = dict.fromkeys(
        zip(pairs.query.tolist(), pairs.item.tolist(), strict=True), max(judged.values(), default=1)
    )
    grades = {key: grade for key, grade in (own | judged).items() if key in own or grade > 0}
    best = max(1e-9, *own.values())
    query, item = torch.tensor(list(grades)).T.contiguous()
    grade = [grade if grade > 0 else best for grade in grades.values()]
    paired = torch.tensor([key in own for key in grades])
    return Relevance.of(query, item, torch.tensor(grade, dtype=torch.float64), paired)


def read_judgements_of_relevance(path: str | os.PathLike[str]) -> Iterator[Judgement]:
    """The lines of a file of relevance, whichever of the known forms it has."""
    lines = enumerate(read_lines(path), start=1)
    suffix = Path(path).suffix
    if suffix == ".jsonl":
        yield from (_of_json(line, path, number) for number, line in lines)
        return
    for number, line in lines:
        fields = line.split("\t") if suffix == ".tsv" or "\t" in line else line.split()
        if suffix == ".tsv" and len(fields) in (2, 3):
            if number == 1 and fields[0] in QUERY:
                continue
            query, item, grade = (*fields, "1")[:3]
        elif suffix != ".tsv" and len(fields) == 4:
            query, _, item, grade = fields
        elif suffix != ".tsv" and len(fields) == 5:  # the crowd's: share, yeses, noes
            query, item, _, yes, no = fields
            grade = str(int(_number(yes, path, number) > _number(no, path, number)))
        else:
            wanted = "query, item and grade" if suffix == ".tsv" else "query, 0, item and grade"
            raise UserError(f"{path} line {number} has {len(fields)} fields: it needs {wanted}.")
        yield query, item, _number(grade, path, number), number


def _of_json(line: str, path: str | os.PathLike[str], number: int) -> Judgement:
    content = parse_json(line, path, number)
    found = [_first(content, keys) for keys in (QUERY, ITEM, GRADE)]
    if not isinstance(content, dict) or found[0] is None or found[1] is None:
        raise UserError(f"{path} line {number} has no query and item: give both.")
    grade = 1 if found[2] is None else found[2]
    return str(found[0]), str(found[1]), _number(grade, path, number), number


def _first(content: Any, keys: Iterable[str]) -> Any:
    found = content if isinstance(content, dict) else {}
    return next((found[key] for key in keys if key in found), None)


def _number(text: Any, path: str | os.PathLike[str], line: int) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise UserError(f"{path} line {line}: {text!r} is no grade, which is a number.")
    return number
