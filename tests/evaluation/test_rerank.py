"""Re-ranking against its formulas on full score matrices; hubness on hand-made hubs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

from vse_exp.errors import UserError
from vse_exp.evaluation.neighbours import best_captions, best_images, hubness, k_occurrence
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.ranks import retrieval_ranks
from vse_exp.evaluation.rerank import (
    CSLS,
    NNN,
    Bank,
    DualSoftmax,
    InvertedSoftmax,
    QueryBank,
    Rerank,
    find_rerank,
)

N_IMAGES, N_CAPTIONS, DIM = 15, 40, 4
caption_image = np.concatenate([np.arange(N_IMAGES), np.arange(N_CAPTIONS - N_IMAGES) % 7])


def unit(random: np.random.Generator, n: int) -> torch.Tensor:
    rows = random.standard_normal((n, DIM)) + 0.5  # a common part makes hubs
    return torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4"))


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    return unit(random, N_IMAGES), unit(random, N_CAPTIONS)


@pytest.fixture
def bank() -> Bank:
    random = np.random.default_rng(1)
    return Bank("train", unit(random, 11), unit(random, 23))


def scores(images: torch.Tensor, captions: torch.Tensor) -> np.ndarray:
    return images.double().numpy() @ captions.double().numpy().T


def ranks_of(for_images: np.ndarray, for_captions: np.ndarray) -> list[list[int]]:
    """Ranks of annotation and of search from two score matrices (n_images, n_captions)."""
    annotation = [
        int((np.delete(row, own := np.flatnonzero(caption_image == i)) >= row[own].max()).sum())
        for i, row in enumerate(for_images)
    ]
    search = [
        int((np.delete(for_captions[:, j], i) >= for_captions[i, j]).sum())
        for j, i in enumerate(caption_image)
    ]
    return [annotation, search]


def found_by(rerank: Rerank, rows: tuple) -> list[list[int]]:
    both = rerank.rank(*rows, torch.from_numpy(caption_image), "cosine")
    return [answers.first.tolist() for answers in both]


def mean_of_best(matrix: np.ndarray, k: int, axis: int) -> np.ndarray:
    return -np.sort(-matrix, axis=axis).take(range(k), axis=axis).mean(axis=axis, keepdims=True)


@pytest.mark.parametrize("with_bank", [False, True])
@pytest.mark.parametrize("k", [1, 10])
def test_csls(rows: tuple, bank: Bank, with_bank: bool, k: int) -> None:
    images, captions = (bank.images, bank.captions) if with_bank else rows
    plain = scores(*rows)
    of_captions = mean_of_best(scores(images, rows[1]), k, axis=0)
    of_images = mean_of_best(scores(rows[0], captions), k, axis=1)
    # each direction: twice the score, less what belongs to the query and to the item
    expected = ranks_of(2 * plain - of_captions, 2 * plain - of_images)
    assert found_by(CSLS(bank if with_bank else None, k=k), rows) == expected
    assert expected != ranks_of(plain, plain)


@pytest.mark.parametrize("with_bank", [False, True])
@pytest.mark.parametrize(("k", "alpha"), [(1, 0.75), (10, 0.3)])
def test_nearest_neighbour_normalisation(
    rows: tuple, bank: Bank, with_bank: bool, k: int, alpha: float
) -> None:
    images, captions = (bank.images, bank.captions) if with_bank else rows
    plain = scores(*rows)
    of_captions = mean_of_best(scores(images, rows[1]), k, axis=0)
    of_images = mean_of_best(scores(rows[0], captions), k, axis=1)
    expected = ranks_of(plain - alpha * of_captions, plain - alpha * of_images)
    found = found_by(NNN(bank if with_bank else None, k=k, alpha=alpha), rows)
    assert found == expected
    assert expected != ranks_of(plain, plain)


@pytest.mark.parametrize("with_bank", [False, True])
def test_inverted_softmax(rows: tuple, bank: Bank, with_bank: bool) -> None:
    images, captions = (bank.images, bank.captions) if with_bank else rows
    beta, plain = 8.0, scores(*rows)
    for_images = np.exp(beta * plain - logsumexp(beta * scores(images, rows[1]), 0, keepdims=True))
    for_captions = np.exp(
        beta * plain - logsumexp(beta * scores(rows[0], captions), 1, keepdims=True)
    )
    rerank = InvertedSoftmax(bank if with_bank else None, beta=beta)
    assert found_by(rerank, rows) == ranks_of(for_images, for_captions)


def test_dual_softmax(rows: tuple) -> None:
    scaled = 8.0 * scores(*rows)
    product = softmax(scaled, 0) * softmax(scaled, 1)
    assert found_by(DualSoftmax(beta=8.0), rows) == ranks_of(product, product)


def test_query_bank_changes_only_queries_that_meet_a_hub(rows: tuple, bank: Bank) -> None:
    beta, plain = 8.0, scores(*rows)
    of_captions, of_images = scores(bank.images, rows[1]), scores(rows[0], bank.captions)
    for_images, for_captions = plain.copy(), plain.copy()
    hubs = set(of_captions.argmax(1))
    changed = [i for i in range(N_IMAGES) if plain[i].argmax() in hubs]
    normal = logsumexp(beta * of_captions, 0)
    for_images[changed] = np.exp(beta * plain[changed] - normal)
    image_hubs = set(of_images.argmax(0))
    changed_captions = [j for j in range(N_CAPTIONS) if plain[:, j].argmax() in image_hubs]
    normal = logsumexp(beta * of_images, 1)
    for_captions[:, changed_captions] = np.exp(beta * plain[:, changed_captions] - normal[:, None])
    assert 0 < len(changed) < N_IMAGES
    assert found_by(QueryBank(bank, beta=beta), rows) == ranks_of(for_images, for_captions)


def test_blocks_change_nothing(rows: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [CSLS(k=3), InvertedSoftmax(), DualSoftmax()]
    before = [found_by(rerank, rows) for rerank in every]
    monkeypatch.setattr("vse_exp.evaluation.blocks.ON_CPU", (4, 7))
    assert [found_by(rerank, rows) for rerank in every] == before


def test_a_bank_is_named_beside_the_figures(rows: tuple, bank: Bank) -> None:
    found = evaluate_embeddings(*rows, caption_image, rerank=find_rerank("query_bank", bank))
    assert found.protocol.endswith(
        "full gallery, re-ranked by query-bank normalisation (dynamic, beta=20) over bank train"
    )
    found = evaluate_embeddings(*rows, caption_image, rerank=find_rerank("csls"))
    assert found.protocol.endswith("re-ranked by CSLS (k=10) over the evaluated queries")


def test_what_cannot_be_re_ranked() -> None:
    with pytest.raises(UserError, match="choose one of csls"):
        find_rerank("magic")
    with pytest.raises(UserError, match="needs a bank"):
        find_rerank("query_bank")


@pytest.mark.parametrize("blocks", [(512, 2048), (4, 7)])
def test_best_items(rows: tuple, blocks: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vse_exp.evaluation.blocks.ON_CPU", blocks)
    plain = scores(*rows)
    values, items = best_captions(*rows, k=6)
    np.testing.assert_array_equal(items.numpy(), np.argsort(-plain, 1)[:, :6])
    np.testing.assert_allclose(values.numpy(), -np.sort(-plain, 1)[:, :6], rtol=1e-5)
    _, items = best_images(*rows, k=100)
    np.testing.assert_array_equal(items.numpy(), np.argsort(-plain, 0).T)


def test_hubness_by_hand() -> None:
    # two captions of four are each found by all images, when two are looked for
    captions = np.array([[1.0, 1], [0.9, 0.9], [0, 0.1], [0.1, 0]])
    images = np.array([[1.0, 0.5], [0.5, 1], [0.7, 0.7]])
    found = best_captions(images, captions, 2)[1]
    assert k_occurrence(found, 4).tolist() == [3, 3, 0, 0]
    assert hubness(images, captions, k=2)["aHubness"] == 0  # symmetrical
    # one of five by all of ten: values 10, 0, 0, 0, 0
    captions = np.array([[1.0], [0.5], [0.4], [0.3], [0.2]])
    found = hubness(np.linspace(1, 2, 10)[:, None], captions, k=1)["aHubness"]
    assert found == pytest.approx(1.5)  # (8^3 - 4 * 2^3) / 5 / 4^3
    with pytest.raises(UserError, match="at least one"):
        hubness(images, captions[:, [0, 0]], k=0)


def test_hubs_are_fewer_after_csls() -> None:
    """The purpose: a caption that is near to all images no longer stands first everywhere."""
    random = np.random.default_rng(0)
    images = unit(random, 30)
    captions = images + torch.from_numpy(random.standard_normal((30, DIM)).astype("f4")) / 10
    captions[7] = 3 * images.mean(0)
    mapping = torch.arange(30)
    before = retrieval_ranks(images, captions, mapping)[0]
    after = CSLS(k=5).rank(images, captions, mapping, "cosine")[0].first
    assert (after == 0).sum() > (before == 0).sum()
