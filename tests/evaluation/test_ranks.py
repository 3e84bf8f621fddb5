"""Ranks against golden files, full score matrices in float64, and hand-worked numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.evaluation.ranks import rank_answers, retrieval_ranks

GOLDEN = ["n1", "n2", "n5", "n20", "n100", "n200", "ties_n40"]


def naive_ranks(scores: np.ndarray, caption_image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pessimistic ranks of a full matrix, a query at a time."""
    annotation = [
        (row[caption_image != i] >= row[caption_image == i].max()).sum()
        for i, row in enumerate(scores)
    ]
    search = [
        (np.delete(scores[:, j], i) >= scores[i, j]).sum() for j, i in enumerate(caption_image)
    ]
    return np.array(annotation), np.array(search)


def order_scores(images: np.ndarray, captions: np.ndarray) -> np.ndarray:
    return np.array([-(np.maximum(0, captions - image) ** 2).sum(1) for image in images])


def assert_ranks(found: tuple, expected: tuple) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.int64
        np.testing.assert_array_equal(one.numpy(), other)


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("block", [None, (37, 111)])
def test_ranks_are_the_pessimistic_ones_of_the_original(
    golden: Path, name: str, block: tuple[int, int] | None
) -> None:
    with np.load(golden / "eval" / f"eval_{name}.npz") as file:
        images, captions = file["images"], file["captions"]
        found = retrieval_ranks(images, captions, np.arange(len(captions)) // 5, block=block)
        assert_ranks(found, (file["ranks_i2t_pessimistic"], file["ranks_t2i_pessimistic"]))
        if file["tie_free"]:
            assert_ranks(found, (file["ranks_i2t"], file["ranks_t2i"]))


@st.composite
def tied_problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small whole numbers, so that equal scores are many; one or more captions an image."""
    n_images, extra = draw(st.integers(1, 6)), draw(st.integers(0, 8))
    dim, scale = draw(st.integers(1, 4)), draw(st.sampled_from([1.0, 1e-10, 1e-20, 1e10]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mapping = np.concatenate([np.arange(n_images), random.integers(n_images, size=extra)])
    random.shuffle(mapping)
    rows = random.integers(-1, 2, size=(n_images + len(mapping), dim)).astype(np.float32)
    rows *= np.float32(scale)
    return rows[:n_images], rows[n_images:], mapping


@given(tied_problems(), st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_ranks_equal_those_of_the_full_matrix(problem: tuple, rows: int, columns: int) -> None:
    images, captions, mapping = problem
    wide_images, wide_captions = images.astype(np.float64), captions.astype(np.float64)
    found = retrieval_ranks(images, captions, mapping, block=(rows, columns))
    assert_ranks(found, naive_ranks(wide_images @ wide_captions.T, mapping))
    found = retrieval_ranks(images, captions, mapping, "order", block=(rows, columns))
    assert_ranks(found, naive_ranks(order_scores(wide_images, wide_captions), mapping))


@pytest.mark.parametrize(
    ("dtype", "nudge"), [(np.float16, 1e-3), (np.float32, 1e-7), (np.float64, 1e-8)]
)
@pytest.mark.parametrize("similarity", ["cosine", "order"])
def test_near_ties_are_told_apart(dtype: type, nudge: float, similarity: str) -> None:
    """Scores that float32 hardly orders: copies of rows that differ in one last digit."""
    random = np.random.default_rng(0)
    base = np.abs(random.standard_normal((3, 300)))
    images = np.repeat(base / np.linalg.norm(base, axis=1, keepdims=True), 10, 0).astype(dtype)
    captions = images + np.abs(random.standard_normal(images.shape)).astype(dtype) / 50
    captions[::2] = captions[1::2]
    for rows in (images, captions):
        before = rows.copy()
        rows[::3, 7] = rows[::3, 7] * dtype(1 + nudge)
        assert not np.array_equal(before, rows)
    mapping = random.permutation(30)
    wide = images.astype(np.longdouble), captions.astype(np.longdouble)
    scores = wide[0] @ wide[1].T if similarity == "cosine" else order_scores(*wide)
    narrow = images.astype(np.float32) @ captions.astype(np.float32).T
    if similarity == "cosine" and dtype is not np.float16:
        assert np.unique(scores).size > np.unique(narrow).size
    for block in (None, (4, 9), (7, 2)):
        found = retrieval_ranks(images, captions, mapping, similarity, block=block)
        assert_ranks(found, naive_ranks(scores, mapping))


@pytest.mark.parametrize("similarity", ["cosine", "order"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e-25])
def test_constant_embeddings_find_nothing(similarity: str, value: float) -> None:
    images = torch.full((40, 97), value)
    captions = torch.full((200, 97), value)
    for block in (None, (13, 17)):
        annotation, search = retrieval_ranks(
            images, captions, torch.arange(200) // 5, similarity, block=block
        )
        assert annotation.tolist() == [195] * 40
        assert search.tolist() == [39] * 200


def test_blocks_and_threads_change_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(90, 33, generator=random))
    captions = normalize(images.repeat(3, 1) + torch.randn(270, 33, generator=random) / 2)
    mapping = torch.arange(90).repeat(3)
    scores = images.double() @ captions.double().T
    expected = naive_ranks(scores.numpy(), mapping.numpy())
    for block in (None, (1, 270), (90, 1), (32, 64)):
        assert_ranks(retrieval_ranks(images, captions, mapping, block=block), expected)


def test_hand_worked_ranks_with_one_to_three_captions_an_image() -> None:
    images = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    captions = [[2.0, 0.0], [0.0, 2.0], [2.0, 1.0], [0.5, 0.5], [1.0, 1.0], [-1.0, 3.0]]
    caption_image = [0, 1, 0, 2, 2, 2]
    # scores, a row an image:
    #   2    0    2    .5   1   -1     best own 2 (two of its own tie)           -> 0
    #   0    2    1    .5   1    3     best own 2, and 3 is another's            -> 1
    #   2    2    3    1    2    2     best own 2 (twice), others 2, 2, 3        -> 3
    annotation, search = retrieval_ranks(np.array(images), np.array(captions), caption_image)
    assert annotation.tolist() == [0, 1, 3]
    # columns: (2,0,2) own 0: tie -> 1; (0,2,2) own 1: tie -> 1; (2,1,3) own 0 -> 1;
    #   (.5,.5,1) own 2 -> 0; (1,1,2) own 2 -> 0; (-1,3,2) own 2 -> 1
    assert search.tolist() == [1, 1, 1, 0, 0, 1]


def test_offsets_shift_gallery_items() -> None:
    random = np.random.default_rng(3)
    images, captions = random.standard_normal((8, 5)), random.standard_normal((20, 5))
    mapping = np.arange(20) % 8
    caption_offset, image_offset = random.standard_normal(20), random.standard_normal(8)
    found = rank_answers(
        images,
        captions,
        mapping,
        offsets=(torch.from_numpy(caption_offset), torch.from_numpy(image_offset)),
        block=(3, 7),
    )
    found = tuple(torch.from_numpy(answers.first) for answers in found)
    scores = images @ captions.T
    assert_ranks(
        found,
        (
            naive_ranks(scores + caption_offset, mapping)[0],
            naive_ranks(scores + image_offset[:, None], mapping)[1],
        ),
    )


def test_coarse_matrix_products_change_no_rank() -> None:
    random = torch.Generator().manual_seed(1)
    images, captions = (torch.randn(n, 16, generator=random) for n in (12, 30))
    mapping = torch.arange(30) % 12
    plain = retrieval_ranks(images, captions, mapping)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_ranks(retrieval_ranks(images, captions, mapping), plain)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch before 2.9
            assert_ranks(retrieval_ranks(images, captions, mapping), plain)
            assert torch.get_float32_matmul_precision() == "medium"
            return
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        assert_ranks(retrieval_ranks(images, captions, mapping), plain)
        assert torch.get_float32_matmul_precision() == "medium"  # as it was found
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # for one backend: stays
        assert_ranks(retrieval_ranks(images, captions, mapping), plain)
    finally:
        torch.set_float32_matmul_precision(before)


def test_memory_maps_gradients_and_odd_strides_are_taken(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    images, captions = (random.standard_normal((n, 6)).astype(np.float16) for n in (4, 8))
    mapping = np.arange(8) // 2
    expected = naive_ranks(images.astype(float) @ captions.astype(float).T, mapping)
    np.save(tmp_path / "captions.npy", captions)
    mapped = np.load(tmp_path / "captions.npy", mmap_mode="r")
    leaf = torch.from_numpy(images).float().requires_grad_()
    assert_ranks(retrieval_ranks(leaf, mapped, mapping), expected)
    turned = np.ascontiguousarray(images[::-1])[::-1]
    assert_ranks(retrieval_ranks(turned, torch.from_numpy(captions).bfloat16(), mapping), tuple(
        naive_ranks(
            images.astype(float) @ torch.from_numpy(captions).bfloat16().double().numpy().T, mapping
        )
    ))  # fmt: skip


def test_progress_is_shown_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vse_exp.alive.LINE_SECONDS", 0)
    rows = np.eye(3)
    retrieval_ranks(rows, rows, np.arange(3), verbose=True)
    assert "ranking" in capsys.readouterr().err


ROWS = np.eye(3, 4)


@pytest.mark.parametrize(
    ("images", "captions", "mapping", "words"),
    [
        (ROWS, ROWS, [0, 0, 1], "Image 2 has no caption"),
        (ROWS, ROWS, [0, 1, 3], "Caption 2 belongs to image 3, and there are 3"),
        (ROWS, ROWS, [0, -1, 2], "Caption 1 belongs to image -1"),
        (ROWS, ROWS, [0, 1], r"3 captions, and caption_image has shape \(2,\)"),
        (ROWS, ROWS, [0.0, 1.0, 2.0], "caption_image holds torch.float64"),
        (ROWS, ROWS[:, :3], [0, 1, 2], "4 dimensions and captions 3"),
        (ROWS[:0], ROWS, [0, 1, 2], r"images have shape \(0, 4\)"),
        (ROWS[0], ROWS, [0, 1, 2], r"images have shape \(4,\)"),
        (np.array([["a"]]), ROWS, [0, 1, 2], "images hold <U1"),
        (ROWS, np.where(ROWS == 1, np.nan, ROWS), [0, 1, 2], "Caption embedding 0 holds NaN"),
        (
            np.where(ROWS[:, [2]] == 1, np.inf, ROWS),
            ROWS,
            [0, 1, 2],
            "Image embedding 2 holds NaN or Inf",
        ),
        (ROWS * [[1], [1e30], [1]], ROWS, [0, 1, 2], "Image embedding 1 is so large"),
    ],
)
def test_what_cannot_be_ranked_is_told(
    images: np.ndarray, captions: np.ndarray, mapping: list, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        retrieval_ranks(images, captions, mapping)


def test_unknown_similarity_is_told() -> None:
    with pytest.raises(UserError, match="choose one of cosine, order"):
        retrieval_ranks(ROWS, ROWS, np.arange(3), "euclid")
