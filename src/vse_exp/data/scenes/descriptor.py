"""Image features of the pictures: which colours lie where, and how the edges of each colour run.

A fixed descriptor without any learning, `DIM` numbers a picture in four parts, each the square root
of non-negative quantities (as for histograms: Arandjelovic and Zisserman, "Three things everyone
should know to improve object retrieval", 2012) with unit norm; all together again with unit norm:

- colour layout: every pixel belongs softly to 18 fixed colours; the mean of each over a 4 x 4 grid;
- edge length: of each of the 10 colours of things, how much its share of the pixels changes;
- edge harmonics: |sum of |g| exp(i k a)| / sum of |g| over its edge pixels, where g is the Sobel
  gradient of that share and a its direction, for k = 1 ... 8. Neither size nor turning of a shape
  changes them: a triangle stands out at k = 3, a square at 4, a star at 5, a circle nowhere;
- compactness: area of each colour by its edge length (a disc against a ring).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, normalize

from vse_exp.data.scenes.drawing import COLOUR_RGB, SIZE

GROUNDS = (
    (165, 210, 240), (140, 200, 105), (94, 164, 204), (238, 208, 150),
    (22, 26, 60), (140, 110, 140), (250, 180, 130), (222, 226, 230),
)  # fmt: skip
"""RGB of backgrounds: pale sky, grass, water, sand, night, dusk, glow, tiles and snow."""
THINGS = len(COLOUR_RGB)
COLOURS = THINGS + len(GROUNDS)
SHARPNESS = 15.0
"""A pixel belongs to a colour by softmax of -SHARPNESS times the squared distance, RGB in 0-1."""
GRID = 4
HARMONICS = 8
WEAKEST_EDGE = 0.05
"""Length of a gradient below which a pixel is on no edge."""
LEAST = 2e-4
"""Added to edge lengths (per pixel of the picture) before dividing by them."""
DIM = COLOURS * GRID**2 + THINGS * (HARMONICS + 2)

_PALETTE = torch.tensor([*COLOUR_RGB.values(), *GROUNDS]) / 255
_AT_ONCE = 4  # more pictures together leave the processor's cache and take longer


def describe(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Features float32 (n, DIM) of unit norm; pictures of another size or mode are converted."""
    fitting = [_fit(picture) for picture in pictures]
    if not fitting:
        return np.empty((0, DIM), dtype=np.float32)
    pixels = torch.from_numpy(np.stack(fitting)).permute(0, 3, 1, 2)
    with _one_thread():
        return torch.cat([_describe(part.float() / 255) for part in pixels.split(_AT_ONCE)]).numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many small steps: on a busy machine threads would wait for each other for minutes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _fit(picture: Image.Image) -> np.ndarray:
    picture = picture.convert("RGB")
    if picture.size != (SIZE, SIZE):
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def _describe(pixels: Tensor) -> Tensor:
    """(n, 3, SIZE, SIZE) in 0-1 -> (n, DIM)."""
    # -|x - c|^2 = 2 x.c - c.c - x.x, and the last is the same for every colour c
    weights = 2 * SHARPNESS * _PALETTE[:, :, None, None]
    shares = conv2d(pixels, weights, -SHARPNESS * _PALETTE.square().sum(1)).softmax(1)
    layout = avg_pool2d(shares, SIZE // GRID)
    sums = _edge_sums(shares[:, :THINGS])
    length = sums[:, :, 0].real
    area = layout[:, :THINGS].mean((2, 3))
    harmonics = sums[:, :, 1:].abs() / (length[:, :, None] + LEAST)
    parts = (layout, length, harmonics, area / (length + LEAST))
    return normalize(torch.cat([normalize(part.flatten(1).sqrt()) for part in parts], 1))


def _edge_sums(shares: Tensor) -> Tensor:
    """Mean over all pixels of |g| exp(i k a), complex (n, THINGS, 1 + HARMONICS), k from 0."""
    rows = shares[..., :-2, :] + 2 * shares[..., 1:-1, :] + shares[..., 2:, :]
    columns = shares[..., :-2] + 2 * shares[..., 1:-1] + shares[..., 2:]
    dx = (rows[..., 2:] - rows[..., :-2]) / 4
    dy = (columns[..., 2:, :] - columns[..., :-2, :]) / 4
    squared = (dx.square() + dy.square()).flatten()
    # few pixels are on an edge: the powers are taken of these alone
    edges = (squared > WEAKEST_EDGE**2).nonzero()[:, 0]
    strength = squared[edges].sqrt()
    turn = torch.complex(dx.flatten()[edges], dy.flatten()[edges]) / strength
    powers = [strength.to(turn.dtype)]
    for _ in range(HARMONICS):
        powers.append(powers[-1] * turn)
    per_map = dx.shape[2] * dx.shape[3]
    sums = turn.new_zeros(shares.shape[0] * shares.shape[1], 1 + HARMONICS)
    sums.index_add_(0, edges // per_map, torch.stack(powers, 1))
    return sums.unflatten(0, shares.shape[:2]) / per_map
