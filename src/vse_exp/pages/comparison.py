"""Two models side by side on a split: where one beats the other, as a page and as tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.evaluation import groups
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.evaluator import Judged, open_judged
from vse_exp.evaluation.neighbours import best_captions, best_images, k_occurrence
from vse_exp.evaluation.protocols import Evaluation, evaluate_embeddings
from vse_exp.evaluation.statistics import Comparison
from vse_exp.files import new_folder
from vse_exp.pages.writing import PAGE, page, write_thumbnails
from vse_exp.retrieval.pictures import open_thumbnails

SHOWN = 3
"""Items shown of what a model finds first."""
PER_DECADE = 8
"""Cells of the scattered ranks for a factor of ten."""


@dataclass(frozen=True)
class Side:
    """One of the two models: its figures and the best ten items of every query (n_queries, 10)."""

    about: str
    split: Split
    result: Evaluation
    captions: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, judged: Judged) -> Side:
        """Embeds and ranks a split with a model."""
        model, split, *_ = judged
        images, captions = embed_split(model, split)
        rows = images, captions
        return cls(
            model.describe(),
            split,
            evaluate_embeddings(*rows, split.caption_image, similarity=model.similarity),
            best_captions(*rows, groups.K, model.similarity)[1].cpu().numpy(),
            best_images(*rows, groups.K, model.similarity)[1].cpu().numpy(),
        )


def open_side(
    which: str | Sequence[str] | Mapping[str, Any],
    data: Mapping[str, Any],
    split: str,
    device: str,
    trust: Sequence[str],
    page: str | None = None,
) -> Side | None:
    """The model, or vectors, that `which` names (see `open_judged`), on a split; None where that is
    ranks, a file or those of a run folder. For a `page` ranks are not enough: UserError."""
    if isinstance(which, str):
        path = Path(which)
        of_original = Path(f"{path}.pkl").is_file()  # whose model is a .npz with that beside it
        if path.is_dir() and page is not None:
            which = str(path / "checkpoints" / "best.ckpt")
        elif path.is_dir() or (path.suffix == ".npz" and not of_original):
            if page is not None:
                raise UserError(
                    f"page={page} shows what the models find: give checkpoints or run folders, not "
                    f"{which}."
                )
            return None
    side = Side.of(open_judged(which, data, split, device, trust))
    if isinstance(which, str):  # both may be a best.ckpt
        return replace(side, about=side.about.replace(Path(which).name, which, 1))
    return side


def write_page(
    output: str | Path,
    a: Side,
    b: Side,
    figures: Mapping[str, Comparison],
    *,
    source: str,
    pictures: str | None = None,
    k: int = 20,
    overwrite: bool = False,
) -> None:
    """Write the folder `output`: `index.html`, and `captions.csv`, `images.csv` (the rank of every
    query by both models, from 1) and `groups.csv`. `k` queries are shown of each kind.

    UserError where `output` exists and is not a page to be overwritten.
    """
    split = a.split
    search = a.result.search_ranks.numpy(), b.result.search_ranks.numpy()
    annotation = a.result.annotation_ranks.numpy(), b.result.annotation_ranks.numpy()
    names = split.image_names or [f"image {row}" for row in range(len(split.image_features))]
    occurrence = _occurrence(a, len(names)), _occurrence(b, len(names))
    words = groups.by_word(split.captions, search)
    kinds = {
        "By number of words": groups.by_length(split.captions, search),
        "By relation": groups.by_relation(split.captions, search)[:k],
        "By language": groups.by_language(split.languages or [], search),
        "By how often other captions find the image": groups.by_hubness(
            occurrence, split.caption_image, search
        ),
    }
    apart = {
        "Captions": _furthest_apart(search, k),
        "Images": _furthest_apart(annotation, k),
    }
    thumbnails = open_thumbnails(pictures or split.pictures, split.image_names)
    with new_folder(output, overwrite, mark=PAGE) as folder:
        rows = [row for one in apart["Captions"].values() for row in one]
        needed = {row for one in apart["Images"].values() for row in one}
        needed |= set(split.caption_image[rows].tolist())
        needed |= {int(item) for side in (a, b) for item in side.images[rows, :SHOWN].flat}
        text = page(
            "comparison.html.j2",
            title="Two models side by side",
            protocol=f"{source}, {a.result.protocol}",
            sides={"A": a, "B": b},
            figures=figures,
            scatters={
                "Caption → images": _cells(*search, len(names)),
                "Image → captions": _cells(*annotation, len(split.captions)),
            },
            kinds={name: found for name, found in kinds.items() if found},
            words=_words(words, k),
            apart=apart,
            ranks={"Captions": search, "Images": annotation},
            names=names,
            split=split,
            shown=SHOWN,
            least=groups.LEAST,
            pictures=set(write_thumbnails(folder, sorted(needed), thumbnails)),
        )
        (folder / PAGE).write_text(text, encoding="utf-8")
        every = [*words, *(group for found in kinds.values() for group in found)]
        _write_csv(folder / "groups.csv", groups.table(every))
        image_of = [names[row] for row in split.caption_image]
        _write_csv(
            folder / "captions.csv",
            _queries(["image", "caption"], search, image_of, split.captions),
        )
        _write_csv(folder / "images.csv", _queries(["image"], annotation, names))


def _occurrence(side: Side, n_images: int) -> np.ndarray:
    """How many captions have each image among their best."""
    return k_occurrence(torch.from_numpy(side.images), n_images).numpy()


def _furthest_apart(ranks: groups.Ranks, k: int) -> dict[str, list[int]]:
    """The `k` queries that A ranks furthest above B, by the quotient of ranks, and B above A."""
    quotient = np.log(ranks[0] + 1) - np.log(ranks[1] + 1)
    order = np.argsort(quotient, kind="stable")
    return {
        "A": [int(row) for row in order[:k] if quotient[row] < 0],
        "B": [int(row) for row in order[::-1][:k] if quotient[row] > 0],
    }


def _cells(a: np.ndarray, b: np.ndarray, n_items: int) -> dict[str, Any]:
    """Ranks of both models as cells (column, row, count) on logarithmic scales."""
    columns, rows = (np.floor(PER_DECADE * np.log10(one + 1)).astype(int) for one in (a, b))
    cells, counts = np.unique(np.stack([columns, rows], 1), axis=0, return_counts=True)
    ticks = [10**power for power in range(int(np.log10(max(n_items, 1))) + 1)]
    return {
        "cells": [(int(c), int(r), int(n)) for (c, r), n in zip(cells, counts, strict=True)],
        "size": int(np.floor(PER_DECADE * np.log10(n_items))) + 1,
        "ticks": [(tick, PER_DECADE * power) for power, tick in enumerate(ticks)],
        "most": int(counts.max()),
        "above": [int((a < b).sum()), int((a == b).sum()), int((a > b).sum())],
    }


def _words(words: list[groups.Group], k: int) -> dict[str, list[groups.Group]]:
    by_gain = sorted(words, key=lambda group: group.gain)
    by_found = sorted(words, key=lambda group: sum(group.found))
    return {
        "A finds more": [group for group in by_gain[:k] if group.gain < 0],
        "B finds more": [group for group in by_gain[::-1][:k] if group.gain > 0],
        "Hardly found": by_found[:k],
        "Found best": by_found[::-1][:k],
    }


def _queries(
    columns: list[str], ranks: groups.Ranks, *values: Sequence[str]
) -> Iterable[Sequence[str | int]]:
    yield [*columns, "rank_a", "rank_b"]
    yield from zip(*values, *((rank + 1).tolist() for rank in ranks), strict=True)


def _write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
