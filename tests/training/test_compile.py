"""Compiled parts are compiled once, whatever the lengths of captions and the sizes of batches."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from conftest import WORDS
from small_models import POOLINGS, encoder, image_encoder
from text_model import write_text_model
from vse_exp.models.pretrained_text import PretrainedText

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute"),  # torch's compiler looks
    pytest.mark.filterwarnings("ignore:Guards may run slower on Python"),
]
SIZES = [(6, 5), (4, 9), (7, 3), (5, 12)]
"""Captions and their length, or images and their number of regions."""


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Counts the graphs that are compiled, to what torch does without a compiler."""
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    yield counter
    torch._dynamo.reset()


def compilations(part: Any, counter: CompileCounter, *batches: Any) -> list[int]:
    """How many graphs there are after each batch, in training."""
    part.compile_parts()
    counts = []
    for batch in batches:
        part(*batch).sum().backward()
        counts.append(counter.frame_count)
    return counts


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("pooling", [None, "gpo", "attention", "max"])
def test_a_transformer_is_compiled_once(compiled, pooling, padded):
    part = encoder("transformer", pooling, word_dropout=0.3)(20, 8)
    batches = [
        (torch.randint(1, 20, size), torch.randint(1, size[1], size[:1]) if padded else None)
        for size in SIZES
    ]
    counts = compilations(part, compiled, *batches)
    assert len(set(counts)) == 1
    assert counts[0] > 0


def test_a_pretrained_text_model_is_compiled_once(compiled, tmp_path: Path):
    pytest.importorskip("transformers", reason="needs the extra `text`")
    keys = {"model": str(write_text_model(tmp_path, WORDS)), "frozen": False}
    keys = PretrainedText.complete(keys)
    part = PretrainedText(20, 8, **keys | {"pooling": POOLINGS["mean"]})
    # fewer than the model's 12 positions, for whose whole table torch 2.6 compiles once more
    sizes = [(n, longest - 1) for n, longest in SIZES]
    batches = [(torch.randint(1, 20, size), torch.full(size[:1], size[1] - 1)) for size in sizes]
    counts = compilations(part, compiled, *batches)
    assert len(set(counts)) == 1
    assert counts[0] > 0


@pytest.mark.parametrize("name", ["linear", "mlp"])
@pytest.mark.parametrize("pooling", [None, "gpo", "attention", "max", "mean", "random"])
def test_an_image_encoder_is_compiled_once(compiled, name, pooling):
    part = image_encoder(name, pooling, dropout=0.1)(12, 8)
    shapes = [(*size, 12) if pooling else (size[0], 12) for size in SIZES]
    counts = compilations(part, compiled, *[(torch.randn(shape),) for shape in shapes])
    assert len(set(counts)) == 1
    assert counts[0] > 0
