"""Encoders of words against torch's own modules and naive loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from small_models import encoder as encoder_factory
from vse_exp.errors import UserError
from vse_exp.models.rnn import Recurrent
from vse_exp.models.words import WordEncoder
from vse_exp.text.vocabulary import EOS, PAD

VOCAB = 11


def captions(seed: int, batch: int, longest: int, ragged: bool) -> tuple[Tensor, Tensor | None]:
    """Random captions of few words, so that many begin alike."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(2, 6, (batch, longest), generator=generator)
    if not ragged:
        tokens[:, -1] = EOS
        return tokens, None
    lengths = torch.randint(1, longest + 1, (batch,), generator=generator)
    tokens[torch.arange(batch), lengths - 1] = EOS
    return tokens.masked_fill(torch.arange(longest) >= lengths[:, None], PAD), lengths


def encoder_of(**options: Any) -> WordEncoder:
    torch.manual_seed(0)
    name = options.pop("encoder")
    words = {} if name == "bow" else {"dim_word": 4}
    return encoder_factory(name, **words | options)(VOCAB, 6).double()


def gradients(module: nn.Module, output: Tensor) -> dict[str, Tensor]:
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    grads = torch.autograd.grad((output * weights).sum(), list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(named[name]) if grad is None else grad.to_dense()
        for name, grad in zip(named, grads, strict=True)
    }


def assert_same_gradients(ours: dict[str, Tensor], reference: dict[str, Tensor]) -> None:
    for name, expected in reference.items():
        torch.testing.assert_close(ours[name], expected, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("encoder", ["gru", "lstm"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    batch=st.integers(1, 9),
    longest=st.integers(1, 7),
    ragged=st.booleans(),
    bidirectional=st.booleans(),
    num_layers=st.integers(1, 2),
    recurrent_bias=st.booleans(),
)
def test_trees_equal_torch(
    encoder: str,
    pooling: str,
    seed: int,
    batch: int,
    longest: int,
    ragged: bool,
    bidirectional: bool,
    num_layers: int,
    recurrent_bias: bool,
) -> None:
    module = encoder_of(
        encoder=encoder,
        pooling=pooling,
        bidirectional=bidirectional,
        num_layers=num_layers,
        recurrent_bias=recurrent_bias,
    )
    assert isinstance(module, Recurrent)
    for parameter in module.recurrence.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    tokens, lengths = captions(seed, batch, longest, ragged)
    fast = module(tokens, lengths)
    fast_gradients = gradients(module, fast)
    module.on_cpu_in_full_precision = lambda: False
    plain = module(tokens, lengths)
    torch.testing.assert_close(fast, plain)
    assert_same_gradients(fast_gradients, gradients(module, plain))
    with torch.inference_mode():
        torch.testing.assert_close(module(tokens, lengths), plain.detach())


@pytest.mark.parametrize("encoder", ["gru", "lstm"])
def test_recurrence_is_torchs_with_weights_copied(encoder: str) -> None:
    module = encoder_of(encoder=encoder)
    reference = {"gru": nn.GRU, "lstm": nn.LSTM}[encoder](4, 6, batch_first=True).double()
    reference.load_state_dict(module.recurrence.state_dict())
    tokens, lengths = captions(3, 5, 6, ragged=True)
    assert lengths is not None
    encoded = module(tokens, lengths)
    for row in range(5):
        words = module.embedding.weight[tokens[row, : lengths[row]]]
        torch.testing.assert_close(encoded[row], reference(words[None])[0][0, -1])


def test_gru_is_the_originals_formula() -> None:
    """Equations of the original's `gru_layer` with its matrices W, U, Wx, Ux."""
    module = encoder_of(encoder="gru")
    recurrence = module.recurrence
    assert isinstance(recurrence, nn.GRU)
    nn.init.normal_(recurrence.bias_ih_l0)
    w, wx = recurrence.weight_ih_l0.T.split([12, 6], 1)
    u, ux = recurrence.weight_hh_l0.T.split([12, 6], 1)
    b, bx = recurrence.bias_ih_l0.split([12, 6])
    tokens, _ = captions(1, 4, 5, ragged=False)
    state = torch.zeros(4, 6, dtype=torch.double)
    for words in module.embedding.weight[tokens].unbind(1):
        reset, update = torch.sigmoid(words @ w + b + state @ u).split(6, 1)
        new = torch.tanh((state @ ux) * reset + words @ wx + bx)
        state = update * state + (1 - update) * new
    torch.testing.assert_close(module(tokens), state)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_bow_is_the_sum_of_word_vectors(ragged: bool, sparse: bool) -> None:
    module = encoder_of(encoder="bow")
    module.embedding.sparse = sparse
    tokens, lengths = captions(5, 7, 6, ragged)
    summed = module(tokens, lengths)
    naive = module.embedding.weight[tokens].sum(1)  # PAD's row is zero
    torch.testing.assert_close(summed, naive)
    ours, expected = gradients(module, summed), gradients(module, naive)
    expected["embedding.weight"][PAD] = 0
    assert_same_gradients(ours, expected)


def test_single_precision_is_close_to_torch() -> None:
    module = encoder_factory("gru", dim_word=32)(VOCAB, 64)
    assert isinstance(module, Recurrent)
    tokens, lengths = captions(0, 40, 12, ragged=True)
    fast = module(tokens, lengths)
    module.on_cpu_in_full_precision = lambda: False
    torch.testing.assert_close(fast, module(tokens, lengths), rtol=0, atol=1e-6)


@pytest.mark.parametrize("encoder", ["gru", "lstm"])
def test_half_precision_runs_through_torch(encoder: str) -> None:
    module = encoder_factory(encoder, dim_word=8)(VOCAB, 16)
    tokens, lengths = captions(0, 6, 5, ragged=True)
    with torch.autocast("cpu", torch.bfloat16):
        half = module(tokens, lengths)
    torch.testing.assert_close(half.float(), module(tokens, lengths), rtol=0.05, atol=0.02)


def test_sparse_gradients_hold_each_word_that_occurs_once() -> None:
    module = encoder_of(encoder="gru")
    module.embedding.sparse = True
    tokens, _ = captions(2, 4, 5, ragged=False)
    module(tokens).sum().backward()
    grad = module.embedding.weight.grad
    assert grad is not None
    assert grad._indices()[0].tolist() == tokens.unique().tolist()


@pytest.mark.parametrize("encoder", ["bow", "gru", "transformer"])
@pytest.mark.parametrize("pooling", ["mean", "max", "attention", "gpo"])
def test_padding_changes_nothing(encoder: str, pooling: str) -> None:
    module = encoder_of(encoder=encoder, pooling=pooling).eval()
    tokens, lengths = captions(7, 5, 6, ragged=True)
    assert lengths is not None
    together = module(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = module(tokens[row : row + 1, :length])
        torch.testing.assert_close(together[row], alone[0])


def test_dropping_words_and_values_is_for_training_alone() -> None:
    module = encoder_of(encoder="gru", num_layers=2, dropout=0.5, word_dropout=0.5)
    tokens, lengths = captions(1, 6, 5, ragged=True)
    assert not torch.equal(module(tokens, lengths), module(tokens, lengths))
    module.eval()
    plain = encoder_of(encoder="gru", num_layers=2)
    torch.testing.assert_close(module(tokens, lengths), plain(tokens, lengths))


def test_dropped_words_are_read_as_unknown() -> None:
    from vse_exp.models.dropping import drop_words
    from vse_exp.text.vocabulary import UNK

    torch.manual_seed(0)
    tokens = torch.tensor([[5, 6, 7, EOS, PAD]] * 200)
    dropped = drop_words(tokens, 0.3)
    changed = dropped != tokens
    assert (dropped[changed] == UNK).all()
    assert not changed[:, 3:].any()
    assert 0.2 < changed[:, :3].float().mean() < 0.4


def test_long_captions_fit_a_transformer() -> None:
    module = encoder_of(encoder="transformer", num_layers=2).eval()
    tokens, _ = captions(0, 2, 200, ragged=False)
    assert module(tokens).isfinite().all()


def test_encoders_learn_nothing_for_padding() -> None:
    module = encoder_of(encoder="gru", bidirectional=True)
    tokens, lengths = captions(4, 6, 6, ragged=True)
    module(tokens, lengths).sum().backward()
    grad = module.embedding.weight.grad
    assert grad is not None
    assert not grad[PAD].any()
    assert not module.embedding.weight[PAD].any()


@pytest.mark.parametrize("encoder", ["bow", "gru", "lstm", "transformer"])
def test_no_captions(encoder: str) -> None:
    module = encoder_of(encoder=encoder)
    tokens = torch.zeros(0, 1, dtype=torch.int64)
    assert module(tokens).shape == (0, 6)
    assert module(tokens, torch.zeros(0, dtype=torch.int64)).shape == (0, 6)


def test_the_pooling_of_an_encoder_is_its_own_unless_named() -> None:
    assert encoder_of(encoder="bow").pooling.sums
    assert encoder_of(encoder="gru").pooling.takes_last
    assert not encoder_of(encoder="bow", pooling="max").pooling.sums


def test_sizes_follow_from_the_encoder() -> None:
    assert encoder_factory("bow")(VOCAB, 7).embedding.embedding_dim == 7
    assert encoder_factory("gru")(VOCAB, 7).embedding.embedding_dim == 300


def test_torchs_start_needs_its_second_bias() -> None:
    with pytest.raises(UserError, match="recurrent_bias=true"):
        encoder_of(encoder="gru", init="torch")
    torch.manual_seed(0)
    reference = nn.GRU(4, 6)
    module = encoder_of(encoder="gru", init="torch", recurrent_bias=True)
    drawn = [weight.abs().max() for weight in module.recurrence.parameters()]
    assert all(0.3 < largest <= 6**-0.5 for largest in drawn)  # uniform in +-1/sqrt(H), as torch's
    assert [w.shape for w in module.recurrence.parameters()] == [
        w.shape for w in reference.parameters()
    ]
