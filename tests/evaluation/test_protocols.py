"""Folds, first images, ensembles: each against separate evaluations of the parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import retrieval_metrics
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.ranks import retrieval_ranks
from vse_exp.models.ensemble import concatenate


@dataclass
class Problem:
    images: np.ndarray
    captions: np.ndarray
    mapping: np.ndarray

    def part(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = (self.mapping >= start) & (self.mapping < stop)
        return self.images[start:stop], self.captions[chosen], self.mapping[chosen] - start


@pytest.fixture(params=[True, False], ids=["contiguous", "scattered"])
def problem(request: pytest.FixtureRequest) -> Problem:
    random = np.random.default_rng(0)
    mapping = np.repeat(np.arange(12), 3)
    if not request.param:
        random.shuffle(mapping)
    images = random.standard_normal((12, 6))
    return Problem(images, images[mapping] + random.standard_normal((36, 6)), mapping)


def test_full(problem: Problem) -> None:
    found = evaluate_embeddings(problem.images, problem.captions, problem.mapping)
    ranks = retrieval_ranks(*problem.part(0, 12))
    assert found.metrics == retrieval_metrics(*ranks)
    assert found.protocol == "12 images x 36 captions, full gallery"
    assert torch.equal(found.search_ranks, ranks[1])
    assert torch.equal(found.caption_image, torch.from_numpy(problem.mapping))


def test_first_images(problem: Problem) -> None:
    found = evaluate_embeddings(
        problem.images, problem.captions, problem.mapping, "first_n", n_images=5
    )
    assert found.metrics == retrieval_metrics(*retrieval_ranks(*problem.part(0, 5)))
    assert found.protocol == "5 images x 15 captions, first 5 of 12 images"


def test_folds_are_averaged_and_rsum_is_the_sum_of_averages(problem: Problem) -> None:
    found = evaluate_embeddings(
        problem.images, problem.captions, problem.mapping, "folds", n_images=4
    )
    parts = [retrieval_ranks(*problem.part(start, start + 4)) for start in (0, 4, 8)]
    each = [retrieval_metrics(*ranks) for ranks in parts]
    assert list(found.per_fold) == each
    for name, value in found.metrics.items():
        assert value == pytest.approx(np.mean([fold[name] for fold in each]))
    recalls = [found.metrics[f"{letter}R@{k}"] for letter in "as" for k in (1, 5, 10)]
    assert found.metrics["rsum"] == pytest.approx(sum(recalls))
    assert found.protocol == "mean of 3 folds of 4 images x 12 captions"
    assert torch.equal(found.annotation_ranks, torch.cat([ranks[0] for ranks in parts]))
    assert sorted(found.caption_image.tolist()) == sorted(problem.mapping.tolist())


def test_folds_of_unequal_numbers_of_captions() -> None:
    mapping = np.array([0, 0, 1, 2, 3, 3, 3])
    found = evaluate_embeddings(np.eye(4), np.eye(4)[mapping], mapping, "folds", n_images=2)
    assert found.protocol == "mean of 2 folds of 2 images x 3 to 4 captions"
    assert found.metrics["rsum"] == 600


@pytest.mark.parametrize(
    ("protocol", "n_images", "words"),
    [("some", 4, "Unknown protocol"), ("folds", 5, "n_images=5"), ("first_n", 13, "12 images")],
)
def test_sizes_that_do_not_fit(problem: Problem, protocol: str, n_images: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        evaluate_embeddings(
            problem.images, problem.captions, problem.mapping, protocol, n_images=n_images
        )


@pytest.mark.parametrize("similarity", ["cosine", "order"])
def test_an_ensemble_scores_the_mean(similarity: str) -> None:
    from vse_exp.similarity import find_similarity

    random = np.random.default_rng(0)
    sizes = (3, 5, 2)
    images = [random.random((4, size)).astype(np.float32) for size in sizes]
    captions = [random.random((9, size)).astype(np.float32) for size in sizes]
    score = find_similarity(similarity)
    tensors = [torch.from_numpy(concatenate(rows)) for rows in (images, captions)]
    each = [
        score(torch.from_numpy(rows), torch.from_numpy(others))
        for rows, others in zip(images, captions, strict=True)
    ]
    torch.testing.assert_close(score(*tensors), torch.stack(each).mean(0))


def test_an_ensemble_needs_the_same_items() -> None:
    with pytest.raises(UserError, match="same items"):
        concatenate([np.eye(2), np.eye(3)])
