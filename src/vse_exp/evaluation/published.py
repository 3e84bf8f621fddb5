"""Protocols of published programs, each as its code computes it (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.evaluation.answers import Answers, Ranks, Relevance
from vse_exp.evaluation.metrics import NDCG, RECALLS, STANDARD, Metric, Recall, retrieval_metrics
from vse_exp.evaluation.protocols import PROTOCOLS, Evaluation, evaluate_embeddings
from vse_exp.evaluation.ranks import rank_answers
from vse_exp.evaluation.rows import as_map, check_map, rows_of_both
from vse_exp.similarity import SimilarityLike, find_similarity

KARPATHY = {(1000, 5000): "Flickr8k's or Flickr30K's test set", (5000, 25010): "COCO 5K"}
"""Images and captions of the test splits of Karpathy and Fei-Fei (2015)."""
PUBLISHED = ("karpathy", "clip_benchmark", "mteb")


def evaluate_as(
    protocol: str,
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    texts: Sequence[str],
    metrics: Sequence[Metric] = STANDARD,
    similarity: SimilarityLike = "cosine",
    **options: Any,
) -> Evaluation:
    """`evaluate_embeddings` under any protocol; `texts` are the captions' words. Options that a
    published protocol has not (folds, re-ranking, relevance) are a UserError."""
    rows = images, captions, caption_image
    if protocol not in PUBLISHED:
        if protocol not in PROTOCOLS:
            known = ", ".join((*PROTOCOLS, *PUBLISHED))
            raise UserError(f"Unknown protocol {protocol!r}: choose one of {known}.")
        return evaluate_embeddings(
            *rows, protocol=protocol, similarity=similarity, metrics=metrics, **options
        )
    changed = [name for name in ("rerank", "relevance") if options.get(name) is not None]
    if changed:
        raise UserError(f"protocol={protocol} has no {changed[0]}: leave out one of them.")
    if protocol == "karpathy":
        return karpathy(*rows, metrics=metrics, similarity=similarity)
    if protocol == "mteb":
        return mteb(*rows, texts, metrics=metrics, similarity=similarity)
    if not find_similarity(similarity).inner_product:
        raise UserError("protocol=clip_benchmark is of cosines: this model has another similarity.")
    return clip_benchmark(*rows)


def karpathy(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    metrics: Sequence[Metric] = STANDARD,
    similarity: SimilarityLike = "cosine",
) -> Evaluation:
    """A test split of Karpathy and Fei-Fei (2015) as a whole; and, of COCO's, `1k_aR@1` …: the mean
    of its five folds of 1,000 images."""
    size = len(images), len(captions)
    if size not in KARPATHY:
        sizes = " or ".join(
            f"{i:,} images and {c:,} captions ({n})" for (i, c), n in KARPATHY.items()
        )
        raise UserError(
            f"protocol=karpathy is of {sizes}, and these are {size[0]:,} and {size[1]:,}: take "
            "protocol=full."
        )
    rows = images, captions, caption_image
    found = evaluate_embeddings(*rows, similarity=similarity, metrics=metrics)
    label = f"{found.protocol}, Karpathy's {KARPATHY[size]}"
    if size[0] < 5000:
        return replace(found, protocol=label)
    folds = evaluate_embeddings(*rows, "folds", 1000, similarity, metrics=metrics)
    more = {f"1k_{name}": value for name, value in folds.metrics.items()}
    label = f"{label}; 1k: {folds.protocol}"
    return replace(found, metrics=found.metrics | more, protocol=label, per_fold=folds.per_fold)


def mteb(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    texts: Sequence[str],
    metrics: Sequence[Metric] = STANDARD,
    similarity: SimilarityLike = "cosine",
) -> Evaluation:
    """nDCG at 10 of MTEB's image retrieval tasks: captions of the same words are one, right for all
    their images (Xiao et al. 2025, MIEB)."""
    images, captions = rows_of_both(images, captions)
    mapping = as_map(caption_image).cpu()
    check_map(images, captions, mapping)
    _, first, merged = np.unique(np.array(texts), return_index=True, return_inverse=True)
    pairs = torch.unique(torch.stack([torch.from_numpy(merged), mapping], 1), dim=0)
    caption, image = pairs.T.contiguous()
    grade = torch.ones(len(pairs), dtype=torch.float64)
    own = torch.ones(len(pairs), dtype=torch.bool)
    wanted = (NDCG(10), *metrics)
    annotation, search = rank_answers(
        images,
        captions[torch.from_numpy(first)],
        mapping[first],
        similarity,
        relevance=(
            Relevance.of(image, caption, grade, own),
            Relevance.of(caption, image, grade, own),
        ),
        every=True,
    )
    label = f"{len(images):,} images x {len(first):,} different captions, MTEB"
    return Evaluation(
        retrieval_metrics(annotation, search, wanted),
        label,
        Ranks(annotation, search, label),
        reported=wanted,
    )


def clip_benchmark(
    images: Tensor | np.ndarray,
    captions: Tensor | np.ndarray,
    caption_image: Tensor | np.ndarray,
    ks: Sequence[int] = RECALLS,
    batch_size: int = 64,
) -> Evaluation:
    """Recall at K as CLIP_benchmark's `zeroshot_retrieval` has it: float32 cosines, a batch of
    queries at a time, and whatever torch.topk puts first of equal ones."""
    images, captions = rows_of_both(images, captions)
    mapping = as_map(caption_image).to(images.device)
    check_map(images, captions, mapping)
    images, captions = (
        torch.nn.functional.normalize(rows.float(), dim=-1) for rows in (images, captions)
    )
    own = torch.arange(len(images), device=images.device)
    metrics = tuple(Recall(k) for k in ks)
    annotation = _hits(images, captions, own, mapping, ks, batch_size, items_first=True)
    search = _hits(captions, images, mapping, own, ks, batch_size, items_first=False)
    both = (
        Answers.of_first(annotation),
        Answers.of_first(search, mapping.cpu().numpy()),
    )
    label = f"{len(images):,} images x {len(captions):,} captions, CLIP_benchmark"
    figures = retrieval_metrics(*both, metrics)
    return Evaluation(figures, label, Ranks(*both, label), reported=metrics)


def _hits(
    queries: Tensor,
    items: Tensor,
    query_image: Tensor,
    item_image: Tensor,
    ks: Sequence[int],
    batch_size: int,
    items_first: bool,
) -> Tensor:
    """The least of `ks` less 1 whose best items hold a right one, or how many items there are.

    `items_first`: scores are products of captions with images in both directions, and each of `ks`
    is a call of torch.topk, as that program has them: which of equal scores it takes follows.
    """
    places = []
    for rows, image in zip(queries.split(batch_size), query_image.split(batch_size), strict=True):
        scores = (items @ rows.T).T if items_first else rows @ items.T
        place = torch.full((len(rows),), len(items), device=rows.device)
        for k in sorted(ks, reverse=True):
            best = scores.topk(min(k, len(items)), dim=1).indices
            place[(item_image[best] == image[:, None]).any(1)] = k - 1
        places.append(place)
    return torch.cat(places)
