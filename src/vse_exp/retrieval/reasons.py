"""Why an image and a sentence belong together: which words count, and which parts of the picture.

By leaving things out, so that it is the same for every model: a word's effect is what the score
loses without it (Li et al., "Understanding neural networks through representation erasure", 2016),
a region's what it loses when that is painted over (Zeiler and Fergus, "Visualizing and
understanding convolutional networks", 2014, section 4.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from vse_exp.similarity import Similarity

CELLS = 8
"""Parts of a picture's width and of its height."""
WINDOW = 2
"""Cells a side of what is painted over at once; a cell's effect is the mean over such windows."""
LONGEST_SIDE = 448
"""Pixels of the longer side of a picture that is painted over; larger ones are made smaller."""
MOST_WORDS = 200
"""Words of a sentence that are left out one by one; what stands behind them never is."""

_SYLLABIC = "\u3040-\u30ff\u3400-\u9fff"  # written without spaces: a character at a time
_WORD = re.compile(rf"(?:[{_SYLLABIC}]|[^\s{_SYLLABIC}]+)\s*")

EncodeSentences = Callable[[Sequence[str]], np.ndarray]
EncodePictures = Callable[[Sequence[Image.Image]], np.ndarray]


def split_words(sentence: str) -> list[str]:
    """The words with the blanks behind them: joined they are the sentence, less what leads it."""
    return _WORD.findall(sentence)


def word_effects(
    encode: EncodeSentences, sentence: str, images: np.ndarray, similarity: Similarity
) -> tuple[list[str], np.ndarray]:
    """The words, and what each image's score loses without each, (n_images, n_words) float32.

    `encode`: sentences to embeddings (n, d), as a model has it; `images` (n_images,
    d). Above zero a word speaks for the image, below against it.
    """
    words = split_words(sentence)
    tried = range(min(len(words), MOST_WORDS))
    without = ["".join(words[:i] + words[i + 1 :]).strip() for i in tried]
    scores = _scores(similarity, images, encode([sentence, *without]))
    effects = np.zeros((len(images), len(words)), np.float32)
    effects[:, : len(tried)] = scores[:, :1] - scores[:, 1:]
    return words, effects


def region_effects(
    encode: EncodePictures,
    picture: Image.Image,
    captions: np.ndarray,
    similarity: Similarity,
    cells: int = CELLS,
) -> np.ndarray:
    """What the score of each caption loses without a part of the picture: (n_captions, cells,
    cells) float32, from the upper left corner row by row.

    `encode`: pictures to embeddings (n, d); `captions` (n_captions, d). Windows of WINDOW x WINDOW
    cells are painted in the picture's mean colour.
    """
    picture = picture.convert("RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    colour = tuple(int(value) for value in np.asarray(picture).mean((0, 1)))
    corners = [(i, j) for i in range(cells - WINDOW + 1) for j in range(cells - WINDOW + 1)]
    painted = [_painted(picture, corner, cells, colour) for corner in corners]
    scores = _scores(similarity, encode([picture, *painted]), captions).T
    lost = scores[:, :1] - scores[:, 1:]
    effects = np.zeros((len(captions), cells, cells), np.float32)
    times = np.zeros((cells, cells), np.float32)
    for number, (i, j) in enumerate(corners):
        window = slice(i, i + WINDOW), slice(j, j + WINDOW)
        effects[:, *window] += lost[:, number, None, None]
        times[window] += 1
    return effects / times


def _painted(
    picture: Image.Image, corner: tuple[int, int], cells: int, colour: tuple[int, ...]
) -> Image.Image:
    """A copy with the window of that upper left cell (row, column) in one colour."""
    (top, left), (width, height) = corner, picture.size
    box = (
        left * width // cells,
        top * height // cells,
        (left + WINDOW) * width // cells,
        (top + WINDOW) * height // cells,
    )
    copy = picture.copy()
    copy.paste(colour, box)
    return copy


def pair_score(similarity: Similarity, image: np.ndarray, caption: np.ndarray) -> float:
    """The score of one image (1, d) and one caption (1, d)."""
    return float(_scores(similarity, image, caption)[0, 0])


def _scores(similarity: Similarity, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
    rows: Any = (torch.from_numpy(np.array(rows, np.float32)) for rows in (images, captions))
    with torch.inference_mode():
        return similarity(*rows).numpy()
