"""Flickr8k's human judgements of images and captions, and how well scores agree with them.

Hodosh, Young and Hockenmaier 2013. As the captioning literature takes them (Hessel et al. 2021,
CLIPScore): of the experts each pair's three judgements stand for themselves, of the crowd the share
of yes; pairs of an image with a caption of its own are left out of both.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.correlation import correlation_intervals, correlations
from vse_exp.evaluation.exact import exact_pairs
from vse_exp.evaluation.relevance import Ids
from vse_exp.evaluation.rows import rows_of_both
from vse_exp.files import read_lines
from vse_exp.similarity import SimilarityLike, find_similarity


@dataclass(frozen=True)
class Judgements:
    """What people said of pairs of a split: rows `image`, `caption` int64 (n,), `values`
    (n, n_judges). `kind`: expert or crowd; `outside`: pairs of the file that are not of the split,
    `own`: those of an image with its own caption; both are left out."""

    kind: str
    image: np.ndarray
    caption: np.ndarray
    values: np.ndarray
    outside: int
    own: int

    def describe(self) -> str:
        """The variant, in words."""
        said = {
            "expert": "three judgements a pair, each for itself",
            "crowd": "the share of yes a pair",
        }[self.kind]
        return (
            f"{self.kind}: {len(self.image):,} pairs, {said}; {self.own:,} of an image with "
            f"its own caption left out, {self.outside:,} of other images"
        )


def read_judgements(
    path: str | os.PathLike[str], ids: Ids, caption_image: np.ndarray
) -> Judgements:
    """ExpertAnnotations.txt (image, caption, three scores 1 to 4) or CrowdFlowerAnnotations.txt
    (image, caption, share of yes, yeses, noes), told apart by their first line.

    UserError, with the line, for anything else, and where no pair is of the split.
    """
    kind, rows, values, outside = "", [], [], 0
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split("\t")
        try:
            image, caption, *scores = fields
            numbers = [float(score) for score in scores]
        except ValueError:
            image, caption, numbers = "", "", []
        kind = kind or _kind(numbers)
        if not kind or _kind(numbers) != kind:
            raise UserError(
                f"{path} line {number} is no judgement: it needs, with tabs between, an image, a "
                "caption as image#k, and three scores 1 to 4 (experts) or the share of yes, the "
                "yeses and the noes (crowd)."
            )
        if image in ids.images and caption in ids.captions:
            rows.append((ids.images[image], ids.captions[caption]))
            values.append(numbers if kind == "expert" else numbers[:1])
        else:
            outside += 1
    if not rows:
        raise UserError(f"{path} judges no image and caption of this split: evaluate another.")
    images, captions = np.array(rows).T
    foreign = np.asarray(caption_image)[captions] != images
    return Judgements(
        kind,
        images[foreign],
        captions[foreign],
        np.array(values)[foreign],
        outside,
        int((~foreign).sum()),
    )


def _kind(numbers: list[float]) -> str:
    if len(numbers) != 3:
        return ""
    if all(number in (1, 2, 3, 4) for number in numbers):
        return "expert"
    share, yes, no = numbers
    agrees = yes >= 0 and no >= 0 and yes + no > 0 and abs(share - yes / (yes + no)) < 1e-6
    return "crowd" if agrees else ""


def agreement(
    judgements: Judgements,
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    similarity: SimilarityLike = "cosine",
    n_resamples: int = 1000,
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """`expert_tau_c`, `expert_tau_b`, `expert_spearman` (or `crowd_…`) in percent, and their 95 %
    bootstrap intervals over images (none for `n_resamples` 0)."""
    scores = pair_scores(images, captions, judgements.image, judgements.caption, similarity)
    n_judges = judgements.values.shape[1]
    flat = np.repeat(scores, n_judges), judgements.values.ravel()
    figures = correlations(*flat)
    intervals = {}
    if n_resamples:
        of_images = np.repeat(judgements.image, n_judges)
        intervals = correlation_intervals(*flat, of_images, n_resamples)
    return (
        {f"{judgements.kind}_{name}": value for name, value in figures.items()},
        {f"{judgements.kind}_{name}": value for name, value in intervals.items()},
    )


def pair_scores(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    image: np.ndarray,
    caption: np.ndarray,
    similarity: SimilarityLike = "cosine",
) -> np.ndarray:
    """Float64 scores (n,) of chosen rows of the images with chosen rows of the captions."""
    images, captions = rows_of_both(images, captions)
    rows, columns = (torch.from_numpy(part).to(images.device) for part in (image, caption))
    return exact_pairs(find_similarity(similarity), images, captions, rows, columns).cpu().numpy()
