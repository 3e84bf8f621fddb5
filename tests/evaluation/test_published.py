"""Protocols of published programs against computations of their own, query by query."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import retrieval_metrics
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.published import evaluate_as
from vse_exp.evaluation.rerank import CSLS


def problem(n_images: int, mapping: np.ndarray, noise: float = 1.5) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    images = random.standard_normal((n_images, 8)).astype(np.float32)
    captions = images[mapping] + noise * random.standard_normal((len(mapping), 8)).astype("f4")
    return images / np.linalg.norm(images, axis=1, keepdims=True), captions, mapping


def texts(n: int) -> list[str]:
    return [f"caption {row}" for row in range(n)]


def sorted_ranks(images: np.ndarray, captions: np.ndarray, mapping: np.ndarray) -> tuple:
    """As VSE++'s evaluation.py has them: sort, and look where the first right item stands."""
    scores = images.astype(float) @ captions.astype(float).T
    annotation = [
        np.flatnonzero(mapping[np.argsort(-row)] == image)[0] for image, row in enumerate(scores)
    ]
    search = [
        np.flatnonzero(np.argsort(-column) == image)[0]
        for column, image in zip(scores.T, mapping, strict=True)
    ]
    return np.array(annotation), np.array(search)


def test_karpathy_of_flickr() -> None:
    rows = problem(1000, np.arange(5000) // 5)
    found = evaluate_as("karpathy", *rows, texts(5000))
    assert found.metrics == pytest.approx(retrieval_metrics(*sorted_ranks(*rows)))
    assert found.protocol.endswith("Karpathy's Flickr8k's or Flickr30K's test set")
    with pytest.raises(
        UserError, match=r"5,000 images and 25,010 captions .*these are 1,000 and 99"
    ):
        evaluate_as("karpathy", rows[0], rows[1][:99], rows[2][:99], texts(99))


def test_karpathy_of_coco_has_both_galleries() -> None:
    extra = np.array([3, 700, 1500, 2222, 2223, 3000, 4000, 4001, 4500, 4999])
    mapping = np.sort(np.concatenate([np.arange(25000) // 5, extra]))
    images, captions, _ = rows = problem(5000, mapping)
    found = evaluate_as("karpathy", *rows, texts(25010)).metrics
    folds = []
    for start in range(0, 5000, 1000):
        chosen = (mapping >= start) & (mapping < start + 1000)
        part = images[start : start + 1000], captions[chosen], mapping[chosen] - start
        folds.append(retrieval_metrics(*sorted_ranks(*part)))
    for name in folds[0]:
        assert found[f"1k_{name}"] == pytest.approx(np.mean([fold[name] for fold in folds])), name
    assert found["aR@5"] == evaluate_embeddings(*rows).metrics["aR@5"]


def test_clip_benchmark() -> None:
    """One-hot rows of torch.topk's items on the whole matrix, summed against the pairs."""
    images, captions, mapping = problem(40, np.arange(200) % 40)
    found = evaluate_as("clip_benchmark", images, captions, mapping, texts(200))
    unit = captions / np.linalg.norm(captions, axis=1, keepdims=True)
    scores = torch.from_numpy(unit @ images.T)
    pairs = torch.zeros_like(scores, dtype=torch.bool)
    pairs[torch.arange(200), torch.from_numpy(mapping)] = True
    for k in (1, 5, 10):
        for letter, s, right in (("a", scores.T, pairs.T), ("s", scores, pairs)):
            top = torch.nn.functional.one_hot(s.topk(k, dim=1)[1], s.shape[1])
            hit = (top * right[:, None]).sum((1, 2)) > 0
            assert found.metrics[f"{letter}R@{k}"] == pytest.approx(
                100 * float(hit.double().mean())
            )
    assert set(found.metrics) == {f"{a}R@{k}" for a in "as" for k in (1, 5, 10)} | {"rsum"}


def test_clip_benchmark_breaks_ties_as_topk_does() -> None:
    images, captions = np.ones((6, 3)), np.ones((6, 3))
    found = evaluate_as("clip_benchmark", images, captions, np.arange(6), texts(6)).metrics
    assert found["aR@10"] == 100  # all items are among the first ten; ours counts them as wrong
    assert evaluate_embeddings(images, captions, np.arange(6)).metrics["aR@5"] == 0


def test_mteb_merges_captions_of_the_same_words() -> None:
    images, captions, mapping = problem(30, np.arange(120) // 4)
    words = texts(120)
    for one, other in ((0, 4), (1, 5), (8, 9), (50, 100), (51, 101)):
        words[other], captions[other] = words[one], captions[one]
    found = evaluate_as("mteb", images, captions, mapping, words)
    different = list(dict.fromkeys(words))
    rows = [words.index(text) for text in different]
    right = np.zeros((30, len(different)), int)
    for caption, text in enumerate(words):
        right[mapping[caption], different.index(text)] = 1
    scores = images.astype(float) @ captions[rows].astype(float).T
    # scikit-learn averages over ties, of which there are none
    for letter, s, truth in (("a", scores, right), ("s", scores.T, right.T)):
        expected = 100 * ndcg_score(truth, s, k=10)
        assert found.metrics[f"{letter}nDCG@10"] == pytest.approx(expected, rel=1e-12)
    assert found.protocol == "30 images x 115 different captions, MTEB"


def test_what_a_published_protocol_has_not() -> None:
    rows = problem(4, np.arange(4))
    with pytest.raises(UserError, match="choose one of full, folds, first_n, karpathy"):
        evaluate_as("mine", *rows, texts(4))
    with pytest.raises(UserError, match="protocol=mteb has no rerank"):
        evaluate_as("mteb", *rows, texts(4), rerank=CSLS())
    with pytest.raises(UserError, match="is of cosines"):
        evaluate_as("clip_benchmark", *rows, texts(4), similarity="order")
    folds = evaluate_as("folds", *rows, texts(4), n_images=2)
    assert folds.protocol.startswith("mean of 2 folds")
