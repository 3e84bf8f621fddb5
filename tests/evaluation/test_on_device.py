"""Evaluation, embedding and search on a GPU: what the CPU finds, computed there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from computing_gpu import GPU, computing_gpu
from conftest import WORDS, random_captions, random_features
from small_models import small_model
from vse_exp import device
from vse_exp.data.layouts import Split
from vse_exp.evaluation.choices import Question, answer_questions, order_tests
from vse_exp.evaluation.evaluator import evaluate_model
from vse_exp.evaluation.judgements import pair_scores
from vse_exp.evaluation.languages import by_language, translations
from vse_exp.evaluation.metrics import EVERY
from vse_exp.evaluation.neighbours import best_captions, best_images, hubness
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.evaluation.published import evaluate_as
from vse_exp.evaluation.ranks import retrieval_ranks
from vse_exp.evaluation.rerank import RERANKS, Bank, find_rerank
from vse_exp.images.features import ImageFeatures
from vse_exp.models.vse import VSE
from vse_exp.retrieval.build import build_gallery
from vse_exp.retrieval.captioning import Retriever
from vse_exp.retrieval.search import search
from vse_exp.similarity import Cosine, find_similarity
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import Vocabulary

N_IMAGES, N_CAPTIONS, DIM = 10, 50, 8
CAPTION_IMAGE = torch.arange(N_CAPTIONS) // 5
LIMIT = 480
"""More than the embeddings have, and less than the scores."""


@pytest.fixture(scope="module")
def rows() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    images, captions = (torch.randn(n, DIM, generator=random).abs() for n in (N_IMAGES, N_CAPTIONS))
    return images, captions + images[CAPTION_IMAGE]


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_told", set())


def found(images: Any, captions: Any, similarity: str, bank: Bank) -> dict[str, Any]:
    """All that evaluation finds out."""
    mapping, texts = CAPTION_IMAGE, [f"a {row // 3}" for row in range(N_CAPTIONS)]
    languages = ["en", "de", "en", "de", "fr"] * N_IMAGES
    own = similarity
    figures: dict[str, Any] = {
        "hubness": hubness(images, captions, similarity=own),
        "folds": evaluate_embeddings(images, captions, mapping, "folds", 5, own).metrics,
        "mteb": evaluate_as("mteb", images, captions, mapping, texts, EVERY, own).metrics,
        "languages": by_language(images, captions, mapping.numpy(), languages, own),
        "translations": translations(captions, mapping.numpy(), languages, own),
        "pairs": pair_scores(images, captions, np.arange(9), np.arange(9), own).tolist(),
    }
    if similarity == "cosine":
        figures["clip"] = evaluate_as("clip_benchmark", images, captions, mapping, texts).metrics
    for name in RERANKS if similarity == "cosine" else ["csls"]:
        rerank = find_rerank(name, bank)
        result = evaluate_embeddings(images, captions, mapping, similarity=own, rerank=rerank)
        figures[name] = result.metrics
    return figures


@pytest.mark.parametrize("similarity", ["cosine", "order"])
def test_figures_are_those_of_the_cpu(rows, similarity):
    bank = Bank("other", *(part.flip(0) for part in rows))  # lies on the CPU
    expected = found(*rows, similarity, bank)
    with computing_gpu() as gpu:
        there = tuple(part.to(GPU) for part in rows)
        assert found(*there, similarity, bank) == expected
        mixed = evaluate_embeddings(
            there[0], rows[1].numpy(), CAPTION_IMAGE, "folds", 5, similarity
        )
        assert mixed.metrics == expected["folds"]  # brought there
        if similarity == "cosine":
            assert gpu.scores > 20 * N_IMAGES * N_CAPTIONS


@pytest.mark.parametrize("similarity", ["cosine", "order"])
def test_what_memory_does_not_hold_is_done_in_smaller_blocks(rows, similarity, caplog):
    ranks = retrieval_ranks(*rows, CAPTION_IMAGE, similarity)
    best = [find(*rows, 3, similarity)[1] for find in (best_captions, best_images)]
    hits = search(rows[0], rows[1], 5)
    with computing_gpu(LIMIT) as gpu, caplog.at_level(logging.WARNING):
        there = tuple(part.to(GPU) for part in rows)
        for one, other in zip(
            retrieval_ranks(*there, CAPTION_IMAGE, similarity), ranks, strict=True
        ):
            assert torch.equal(one, other)
        for find, expected in zip((best_captions, best_images), best, strict=True):
            assert torch.equal(find(*there, 3, similarity)[1].cpu(), expected)
        assert np.array_equal(search(*there, 5).items, hits.items)
        assert gpu.refused > 2
    told = [one.getMessage() for one in caplog.records]
    assert len(told) == len(set(told)) == 2  # scores, and the gallery's rows
    assert all("memory is too small" in text for text in told)


def test_blocks_are_as_large_as_free_memory_bears(rows):
    with computing_gpu(LIMIT, free=32 * LIMIT) as gpu:
        there = tuple(part.to(GPU) for part in rows)
        ranks = retrieval_ranks(*there, CAPTION_IMAGE)
        assert gpu.refused == 0
    for one, other in zip(ranks, retrieval_ranks(*rows, CAPTION_IMAGE), strict=True):
        assert torch.equal(one, other)


def test_one_item_that_does_not_fit_is_an_error(rows):
    with computing_gpu(limit=DIM - 1), pytest.raises(torch.OutOfMemoryError):
        device.smaller(lambda n: torch.empty(n * DIM, device=GPU), 5, "rows")


def test_order_violations_take_few_kernels(rows):
    with computing_gpu() as gpu:
        images, captions = (part.to(GPU) for part in rows)
        gpu.kernels = 0
        find_similarity("order")(images, captions)
        assert gpu.kernels < 20


def test_scores_are_not_rounded_to_tf32(rows):
    seen = []

    class Watched(Cosine):
        def block(self, images, captions, out):
            seen.append(torch.backends.cuda.matmul.fp32_precision)
            return super().block(images, captions, out)

    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("torch before 2.9 names precisions otherwise")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        retrieval_ranks(*rows, CAPTION_IMAGE, Watched())
        best_images(*rows, 3, Watched())
        assert seen == ["ieee", "ieee"]
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def split() -> Split:
    captions = random_captions(30)
    features = ImageFeatures(random_features(6))
    files = SplitFiles(Path("nowhere"))
    return Split("test", captions, np.arange(30) // 5, features, None, files, True)


def model_of(kind: str) -> VSE:
    torch.manual_seed(0)
    return small_model(Vocabulary.build(WORDS), text={"name": kind})


@pytest.mark.parametrize("kind", ["bow", "gru"])
def test_a_model_is_evaluated_where_it_is(split, kind, caplog):
    model = model_of(kind)
    expected = evaluate_model(model, split).metrics
    vectors = model.encode_sentences(split.captions)
    with computing_gpu() as gpu, caplog.at_level(logging.WARNING):
        model.to(GPU)
        assert evaluate_model(model, split).metrics == expected
        assert gpu.scores >= 6 * 30
        gpu.limit = 300 if kind == "bow" else 20_000
        np.testing.assert_allclose(model.encode_sentences(split.captions), vectors, atol=1e-6)
    assert [one.getMessage() for one in caplog.records] == [
        "The device's memory is too small for captions: fewer are taken at once."
    ]


def test_a_gallery_is_searched_where_the_model_is(split):
    model = model_of("bow")
    keys = {"images": split.image_features, "captions": split.captions}
    expected = Retriever(model, build_gallery(model, **keys)).images(split.captions[0], 3)
    with computing_gpu() as gpu:
        retriever = Retriever(model.to(GPU), build_gallery(model, **keys))
        gpu.scores = 0
        hits = retriever.images(split.captions[0], 3)
        assert gpu.scores >= 6
    assert [hit.item for hit in hits] == [hit.item for hit in expected]


def test_questions_are_answered_where_the_images_are(split):
    model = model_of("bow")
    questions = [
        Question((0,), ("a dog",), ("a cat", "the man")),
        Question((1,), ("red",), ("on",)),
    ]

    def answers() -> list[Any]:
        images = torch.from_numpy(model.encode_images(split.image_features)).to(model.device)
        captions = torch.from_numpy(model.encode_sentences(split.captions)).to(model.device)
        asked = split.captions, split.caption_image, model.encode_sentences
        return [
            answer_questions(questions, images, model.encode_sentences),
            order_tests(images, captions, *asked),
        ]

    expected = answers()
    with computing_gpu():
        model.to(GPU)
        assert answers() == expected


def test_embeddings_under_autocast(split):
    model = model_of("transformer")
    exact = model.encode_sentences(split.captions)
    model.embed_in("bf16-mixed")
    coarse = model.encode_sentences(split.captions)
    assert coarse.dtype == np.float32
    assert 1e-5 < np.abs(coarse - exact).max() < 3e-2
    model.embed_in("32-true")
    np.testing.assert_array_equal(model.encode_sentences(split.captions), exact)
