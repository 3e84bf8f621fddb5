"""Pre-trained word vectors in the text format of GloVe and fastText."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vse_exp.errors import UserError
from vse_exp.text.vocabulary import FIRST_WORD

log = logging.getLogger(__name__)

CHUNK_BYTES = 16 << 20


def vector_size(path: str | os.PathLike[str]) -> int:
    """Size of the vectors in a file; UserError where it holds none."""
    return _size(next(_lines(path), (0, b""))[1], path)


def fill_word_vectors(
    embedding: nn.Embedding, words: Sequence[str], path: str | os.PathLike[str]
) -> float:
    """Copy the vectors of `words` from a file into their rows; return the share that was found.

    A word that is not there is looked up in lower case; what is not found keeps its random vector.
    The file is read in chunks. UserError for a file of another vector size, with broken lines, or
    with none of the words.
    """
    size = embedding.embedding_dim
    in_file = vector_size(path)
    if in_file != size:
        raise UserError(
            f"The vectors in {path} have {in_file} values and model.encoder.dim_word={size}: "
            "leave out model.encoder.dim_word (for bow: set model.dim to that)."
        )
    wanted = {word.encode() for word in words} | {word.lower().encode() for word in words}
    found: dict[bytes, np.ndarray] = {}
    for number, line in _lines(path):
        word, _, values = line.partition(b" ")
        if word not in wanted or word in found or _is_header(number, line):
            continue
        vector = _vector(values, size, path, number)
        if vector is not None:
            found[word] = vector
    rows, vectors = [], []
    for row, word in enumerate(words, FIRST_WORD):
        vector = found.get(word.encode(), found.get(word.lower().encode()))
        if vector is not None:
            rows.append(row)
            vectors.append(vector)
    if not rows:
        raise UserError(
            f"None of the {len(words)} words of the vocabulary is in {path}: is it the right file?"
        )
    with torch.no_grad():
        embedding.weight[rows] = torch.from_numpy(np.stack(vectors)).to(embedding.weight)
    coverage = len(rows) / len(words)
    log.info(
        "%s: vectors for %d of %d words (%.1f %%)", path, len(rows), len(words), 100 * coverage
    )
    return coverage


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, read in chunks; `.gz` files are unpacked on the way."""
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"No word vectors {path} (model.word_vectors): give a text file with a word and its "
            "numbers a line, as GloVe and fastText publish."
        )
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        number = 0
        while chunk := file.readlines(CHUNK_BYTES):
            for line in chunk:
                number += 1
                yield number, line.rstrip()


def _is_header(number: int, line: bytes) -> bool:
    """fastText's first line: how many vectors of which size."""
    fields = line.split()
    return number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields)


def _size(first: bytes, path: str | os.PathLike[str]) -> int:
    fields = first.split()
    if _is_header(1, first):
        return int(fields[1])
    try:
        [float(value) for value in fields[1:]]
    except ValueError:
        fields = []
    if len(fields) < 2:
        raise UserError(
            f"{path} line 1 is no word with its numbers: give word vectors in text format."
        )
    return len(fields) - 1


def _vector(
    values: bytes, size: int, path: str | os.PathLike[str], number: int
) -> np.ndarray | None:
    """The numbers of a line; None for one whose word has blanks, which some GloVe files have."""
    fields = values.split()
    if len(fields) > size:
        return None
    try:
        vector = np.array(fields, dtype=np.float32)
    except ValueError:
        vector = np.zeros(0)
    if len(vector) != size or not np.isfinite(vector).all():
        raise UserError(f"{path} line {number} does not hold {size} numbers: get the file again.")
    return vector
