"""Chunks, half precision and compilation change how a training computes, and not what."""

from __future__ import annotations

import shutil
import warnings
from operator import methodcaller

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from conftest import WORDS, configuration, random_captions, random_features
from small_models import small_model
from vse_exp.data.loading import PairBatch
from vse_exp.errors import UserError
from vse_exp.losses import InfoNCELoss
from vse_exp.text.vocabulary import Vocabulary
from vse_exp.training.building import compile_parts
from vse_exp.training.fit import train
from vse_exp.training.module import RetrievalModule


def batch_of(vocabulary: Vocabulary, count: int = 10) -> PairBatch:
    tokens, lengths = vocabulary.encode(random_captions(count)).batch(np.arange(count))
    rows = torch.arange(count)
    return PairBatch(tokens, lengths, torch.from_numpy(random_features(count)), rows, rows)


def module_of(encoder: str = "bow", fused: bool = True, **options) -> RetrievalModule:
    torch.manual_seed(0)
    text: dict[str, object] = {"name": encoder}
    images: dict[str, object] = {"name": "mlp"}
    if not options.pop("plain", False):
        text |= {"word_dropout": 0.3, "dropout": 0.2}
        images |= {"dropout": 0.3, "hidden_dropout": 0.5}
    model = small_model(Vocabulary.build([" ".join(WORDS)]), 12, text, images)
    torch.nn.init.normal_(model.get_parameter("image_encoder.mlp.3.weight"), std=0.1)
    return RetrievalModule(
        model,
        InfoNCELoss(),
        lambda module: torch.optim.Adam(module.parameters(), 1e-3, fused=fused),
        grad_clip=options.pop("grad_clip", None),
        **options,
    )


def gradients(module: RetrievalModule, encode) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    images, captions = encode(module)
    module.loss(images, captions, torch.arange(len(images))).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("encoder", ["bow", "gru"])
def test_chunks_have_the_whole_batchs_gradient(encoder, monkeypatch):
    """Also with dropout: against the chunks' embeddings kept in memory, one after the other."""
    module = module_of(encoder, chunk_size=4)
    batch = batch_of(module.model.vocabulary)

    def kept(module):
        model = module.model
        lengths = batch.lengths.split(4)
        captions = map(model.embed_captions, batch.tokens.split(4), lengths)
        captions = torch.cat(list(captions))
        images = [
            model.embed_images(part, model.normalize_images) for part in batch.images.split(4)
        ]
        assert [len(part) for part in images] == [4, 4, 2]
        return torch.cat(images), captions

    expected = gradients(module, kept)
    module.zero_grad()
    monkeypatch.setattr(RetrievalModule, "global_step", 0)
    torch.manual_seed(7)
    module.training_step(batch, 0).backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("encoder", ["bow", "gru"])
def test_without_dropout_chunks_change_nothing(encoder, monkeypatch):
    monkeypatch.setattr(RetrievalModule, "global_step", 0)
    found = []
    for size in (None, 3):
        # in float64, where the order of sums does not show
        module = module_of(encoder, plain=True, chunk_size=size).double()
        batch = batch_of(module.model.vocabulary)
        module.training_step(batch._replace(images=batch.images.double()), 0).backward()
        found.append([parameter.grad for parameter in module.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_images_that_come_once_train_like_repeated_ones(chunk_size):
    """Ten captions of four images, whose gradient is that of all their captions."""
    row = torch.tensor([2, 0, 0, 3, 1, 2, 3, 1, 0, 2])
    repeated = batch_of(module_of().model.vocabulary)
    images = torch.from_numpy(random_features(4))
    repeated = repeated._replace(images=images[row], image_index=row + 5)
    once = repeated._replace(images=images, image_row=row)

    expected, found = (
        gradients(module_of(plain=True, chunk_size=chunk_size), methodcaller("embed_pairs", batch))
        for batch in (repeated, once)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_training_in_chunks(tiny, tmp_path):
    results = train(configuration(tiny, tmp_path / "run", "chunk_size=3", "max_epochs=1"))
    assert results["dev"]["rsum"] > 0
    with pytest.raises(UserError, match="chunk_size is 0"):
        train(configuration(tiny, tmp_path / "other", "chunk_size=0"))


@pytest.mark.parametrize("count", [10, 11])
def test_pairs_are_mixed_two_by_two(count, monkeypatch):
    """Against features and counts of words mixed by hand, of both sides by one share."""
    monkeypatch.setattr(RetrievalModule, "global_step", 0)
    module, half = module_of(plain=True, fusemix=1.0).double(), count // 2
    batch = batch_of(module.model.vocabulary, count)
    images = torch.tensor([3, 3, 1, 0, 2, 5, 5, 4, 7, 6, 9])[:count]
    batch = batch._replace(images=batch.images.double(), image_index=images)
    torch.manual_seed(5)
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    assert 0.05 < share < 0.95
    words = module.model.sentence_encoder.embedding.weight
    counts = torch.zeros(count, len(words), dtype=torch.float64)
    for row, tokens in enumerate(batch.tokens):
        for token in tokens[: None if batch.lengths is None else batch.lengths[row]]:
            counts[row, token] += 1
    mixed = [share * x[:half] + (1 - share) * x[half : 2 * half] for x in (batch.images, counts)]
    module.eval()  # as it maps what is given, without another mixing
    ours = module.model.embed_images(mixed[0])
    theirs = torch.nn.functional.normalize(mixed[1] @ words, dim=-1)
    # the first two mix images 3 and 5 both
    expected = module.loss(ours, theirs, torch.tensor([0, 0, 1, 2, 3]))
    module.train()
    torch.manual_seed(5)
    torch.testing.assert_close(module.training_step(batch, 0), expected, rtol=1e-6, atol=1e-8)


def test_what_cannot_be_mixed(tiny, tmp_path, monkeypatch):
    assert train(configuration(tiny, tmp_path / "run", "fusemix=1.0", "max_epochs=1"))["dev"][
        "rsum"
    ]
    monkeypatch.setattr(RetrievalModule, "global_step", 0)
    module = module_of("gru", fusemix=1.0)
    with pytest.raises(UserError, match="GRU begins with none"):
        module.training_step(batch_of(module.model.vocabulary), 0)
    with pytest.raises(UserError, match="leave out chunk_size"):
        module_of(fusemix=1.0, chunk_size=4)


def one_update(module: RetrievalModule, precision: MixedPrecision | None) -> None:
    batch = batch_of(module.model.vocabulary)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice, on Slurm's srun among it
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=1,
            plugins=[precision] if precision else [],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(
            module,
            torch.utils.data.DataLoader([batch], batch_size=None),
        )


@pytest.mark.parametrize("fused", [True, False])
def test_a_scaled_gradient_is_clipped_unscaled(fused):
    """float16 scales the loss, which neither the norm nor the update may show."""
    plain = module_of(fused=fused, plain=True, grad_clip=0.1)
    one_update(plain, None)
    scaled = module_of(fused=fused, plain=True, grad_clip=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    one_update(scaled, MixedPrecision("16-mixed", "cpu", scaler))
    assert float(plain.grad_norm) > 0.1
    assert float(scaled.grad_norm) == pytest.approx(float(plain.grad_norm), rel=0.05)
    start = dict(module_of(plain=True).named_parameters())
    weights = dict(scaled.named_parameters())
    for name, parameter in plain.named_parameters():
        update, expected = weights[name] - start[name], parameter - start[name]
        # Adam's first updates are all of one size
        agree = (update.sign() == expected.sign()).float().mean()
        assert agree > 0.9, name


def test_bfloat16_trains(tiny, tmp_path):
    results = train(
        configuration(tiny, tmp_path / "run", "trainer.precision=bf16-mixed", "max_epochs=1")
    )
    assert results["dev"]["rsum"] > 0


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_parts_compute_the_same_and_keep_their_names():
    module = module_of(plain=True)
    batch = batch_of(module.model.vocabulary)
    names = list(module.state_dict())
    expected = gradients(module, lambda module: module.embed_pairs(batch))
    module.zero_grad()
    compile_parts(module.model)
    found = gradients(module, lambda module: module.embed_pairs(batch))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)
    assert list(module.state_dict()) == names


def test_no_compiler_is_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"C\+\+ compiler"):
        compile_parts(module_of().model)
