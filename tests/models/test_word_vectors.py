"""Word vectors from text files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from vse_exp.errors import UserError
from vse_exp.models import word_vectors
from vse_exp.models.bow import BagOfWords
from vse_exp.models.rnn import GRU
from vse_exp.models.word_vectors import fill_word_vectors, vector_size
from vse_exp.models.words import WordEmbedding
from vse_exp.text.vocabulary import Vocabulary

WORDS = ["dog", "Paris", "café", "xyzzy"]
LINES = ["the 1 2 3", "dog 4 5 6", "paris 7 8 9", "café -1 .5 1e-1", "dog 0 0 0", ". . . 1 2 3"]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(size: int = 3) -> WordEmbedding:
    torch.manual_seed(0)
    return WordEmbedding(3 + len(WORDS), size)


@pytest.mark.parametrize("header", [[], ["6 3"]])
def test_rows_of_words_that_are_found(tmp_path: Path, header: list[str], monkeypatch) -> None:
    monkeypatch.setattr(word_vectors, "CHUNK_BYTES", 20)  # several chunks
    path = write(tmp_path / "vectors.txt", header + LINES)
    embedding = table()
    before = embedding.weight.detach().clone()
    assert vector_size(path) == 3
    assert fill_word_vectors(embedding, WORDS, path) == pytest.approx(3 / 4)
    expected = [[4, 5, 6], [7, 8, 9], [-1, 0.5, 0.1]]
    np.testing.assert_allclose(embedding.weight[3:6].detach(), expected, rtol=1e-6)
    assert torch.equal(embedding.weight[6], before[6])
    assert torch.equal(embedding.weight[:3], before[:3])
    assert embedding.weight.requires_grad


def test_packed_files(tmp_path: Path) -> None:
    path = tmp_path / "vectors.vec.gz"
    path.write_bytes(gzip.compress("\n".join(LINES).encode()))
    assert fill_word_vectors(table(), WORDS, path) == pytest.approx(3 / 4)


def test_a_word_in_its_own_case_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "vectors.txt", [*LINES, "Paris 0 1 0"])
    embedding = table()
    fill_word_vectors(embedding, WORDS, path)
    assert embedding.weight[4].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["dog 1 2", "cat 1 2"], "have 2 values and model.encoder.dim_word=3"),
        (["the 1 2 3", "dog 1 2"], "line 2 does not hold 3 numbers"),
        (["the 1 2 3", "dog 1 x 2"], "line 2 does not hold 3 numbers"),
        (["the 1 2 3"], "None of the 4 words"),
        (["no vectors here"], "line 1 is no word with its numbers"),
        ([""], "line 1 is no word with its numbers"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, lines: list[str], said: str) -> None:
    path = write(tmp_path / "vectors.txt", lines)
    with pytest.raises(UserError, match=said):
        fill_word_vectors(table(), WORDS, path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No word vectors"):
        vector_size(tmp_path / "none.txt")


def test_the_size_of_word_vectors_follows_from_the_file(tmp_path: Path) -> None:
    path = str(write(tmp_path / "vectors.txt", LINES))
    assert GRU.complete({"dim_word": None, "word_vectors": path})["dim_word"] == 3
    words = Vocabulary(["dog", "cat"])
    bow = BagOfWords(len(words), 3, word_vectors=path)
    bow.start(words.encode([]), words, tmp_path)
    with pytest.raises(UserError, match=r"set model\.dim to that"):
        BagOfWords(len(words), 4, word_vectors=path).start(words.encode([]), words, tmp_path)


def test_an_encoder_of_a_checkpoint_does_not_need_the_file() -> None:
    assert GRU(5, 4, dim_word=3, word_vectors="/gone.txt").embedding.embedding_dim == 3
