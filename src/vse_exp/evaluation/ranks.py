"""Exact ranks by counting, in strips: the full score matrix is never built.

A rank is 0-based: how many wrong items score at least as much as the right one. Ties count against
the query, so that constant embeddings rank last and not first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from vse_exp.errors import UserError

STRIP_BYTES = 48 << 20
"""Scores held at once; twice that is about the extra memory of an evaluation."""


def cosine_scores(images: Tensor, captions: Tensor) -> Tensor:
    """Inner products (n_images, n_captions) of rows, which are cosines for unit rows."""
    return images @ captions.T


def order_scores(images: Tensor, captions: Tensor) -> Tensor:
    """Minus the order violation `||max(0, caption - image)||^2` (Vendrov et al. 2016, eq. 2)."""
    scores = images.new_empty(len(images), len(captions))
    step = max(1, STRIP_BYTES // (4 * max(1, captions.numel())))
    for start in range(0, len(images), step):
        violation = (captions[None] - images[start : start + step, None]).clamp_(min=0)
        scores[start : start + step] = -violation.square_().sum(-1)
    return scores


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_scores,
    "order": order_scores,
}


def retrieval_ranks(
    images: Tensor,
    captions: Tensor,
    caption_image: Tensor,
    similarity: str = "cosine",
    progress: Callable[[Iterator[slice], int], Iterator[slice]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Ranks of annotation, int64 (n_images,), and of search, int64 (n_captions,), on the CPU.

    `images` (n_images, d), `captions` (n_captions, d), `caption_image` int64 (n_captions,): the row
    of each caption's image. An image's rank is that of its best caption among those of all other
    images. `progress` may wrap the strips, told their number.
    Raises UserError for NaN or Inf, for an image without captions, for a map out of range.
    """
    check_pairs(images, captions, caption_image)
    caption_image = caption_image.to(images.device)
    score = SIMILARITIES[similarity]
    watch = progress or (lambda strips, _: strips)
    n_images, n_captions = len(images), len(captions)
    if 4 * n_images * n_captions <= STRIP_BYTES:  # one matrix product serves both directions
        scores = score(images, captions)
        annotation = _annotation(scores, caption_image, np.arange(n_captions), 0)
        search = _search(scores, caption_image)
        return annotation.cpu(), search.cpu()
    by_image = torch.argsort(caption_image, stable=True).cpu().numpy()
    ends = np.cumsum(np.bincount(caption_image.cpu().numpy(), minlength=n_images))
    annotation = torch.empty(n_images, dtype=torch.int64)
    search = torch.empty(n_captions, dtype=torch.int64)
    image_strips, caption_strips = _strips(n_images, n_captions), _strips(n_captions, n_images)
    for part in watch(iter(image_strips), len(image_strips)):
        own = by_image[(ends[part.start - 1] if part.start else 0) : ends[part.stop - 1]]
        scores = score(images[part], captions)
        annotation[part] = _annotation(scores, caption_image, own, part.start).cpu()
    for part in watch(iter(caption_strips), len(caption_strips)):
        search[part] = _search(score(images, captions[part]), caption_image[part]).cpu()
    return annotation, search


def check_pairs(images: Tensor, captions: Tensor, caption_image: Tensor) -> None:
    """Raise UserError unless the embeddings are finite and the map gives each image a caption."""
    if images.shape[1:] != captions.shape[1:] or len(captions) != len(caption_image):
        raise UserError(
            f"Images {tuple(images.shape)}, captions {tuple(captions.shape)} and the map of "
            f"{len(caption_image)} captions to images do not fit: rows must be of one size."
        )
    largest = 1.0
    for name, rows in (("Image", images), ("Caption", captions)):
        norms = torch.linalg.vector_norm(rows.float(), dim=1)
        if not bool(norms.isfinite().all()):
            row = int((~norms.isfinite()).nonzero()[0])
            raise UserError(f"{name} embedding {row} holds NaN or Inf: the ranks are undefined.")
        largest *= float(norms.max()) if len(norms) else 0.0
    if largest > torch.finfo(torch.float32).max:
        raise UserError("The embeddings are so large that their scores overflow: normalise them.")
    counts = torch.bincount(caption_image, minlength=len(images))
    if len(counts) != len(images):
        raise UserError(
            f"A caption belongs to image {len(counts) - 1}, and there are {len(images)} images."
        )
    if not bool(counts.all()):
        row = int((counts == 0).nonzero()[0])
        raise UserError(f"Image {row} has no caption: leave it out, or give it one.")


def _annotation(scores: Tensor, caption_image: Tensor, own: np.ndarray, first: int) -> Tensor:
    """Ranks of the images of a strip; `own` are the columns of their captions."""
    columns = torch.from_numpy(own).to(scores.device)
    rows = caption_image[columns] - first
    right = scores[rows, columns]
    best = scores.new_full((len(scores),), -torch.inf).scatter_reduce(0, rows, right, "amax")
    at_least = torch.count_nonzero(scores >= best[:, None], dim=1)
    return at_least.index_add(0, rows, (right >= best[rows]).long(), alpha=-1)


def _search(scores: Tensor, caption_image: Tensor) -> Tensor:
    """Ranks of the captions that are the columns of `scores`."""
    right = scores.gather(0, caption_image[None])
    return torch.count_nonzero(scores >= right, dim=0) - 1


def _strips(n_rows: int, n_columns: int) -> list[slice]:
    step = max(1, STRIP_BYTES // (4 * max(1, n_columns)))
    return [slice(start, min(n_rows, start + step)) for start in range(0, n_rows, step)]
