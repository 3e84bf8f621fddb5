"""Initial weights as the original draws them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from small_models import encoder as encoder_factory
from vse_exp.models.rnn import Recurrent
from vse_exp.text.vocabulary import PAD


def encoder_of(vocab_size: int, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    encoder = encoder_factory(options.pop("encoder", "gru"), **options)(vocab_size, 12)
    assert isinstance(encoder, Recurrent)
    return encoder


def orthogonal(matrix: Tensor) -> bool:
    return torch.allclose(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-5)


def test_recurrent_maps_are_orthogonal_by_gate_and_input_maps_uniform() -> None:
    layer = encoder_of(30, dim_word=8, init="original").recurrence
    assert all(orthogonal(block) for block in layer.weight_hh_l0.split(12))
    assert layer.weight_ih_l0.abs().max() <= 0.1
    assert not layer.bias_ih_l0.any()
    assert not layer.bias_hh_l0.any()
    assert not layer.bias_hh_l0.requires_grad


def test_square_input_maps_are_orthogonal() -> None:
    layer = encoder_of(30, dim_word=12, init="original").recurrence
    assert all(orthogonal(block) for block in layer.weight_ih_l0.split(12))


@pytest.mark.parametrize("init", ["default", "original"])
def test_a_square_table_is_orthogonal_in_the_original_alone(init: str) -> None:
    table = encoder_of(9, dim_word=8, init=init).embedding.weight
    assert not table[PAD].any()
    assert orthogonal(table[PAD + 1 :]) == (init == "original")


def test_a_second_bias_is_trained_where_asked() -> None:
    assert encoder_of(9, recurrent_bias=True).recurrence.bias_hh_l0.requires_grad


def test_an_lstm_starts_by_keeping_its_cell() -> None:
    bias = encoder_of(9, encoder="lstm").recurrence.bias_ih_l0
    assert bias.tolist() == [0.0] * 12 + [1.0] * 12 + [0.0] * 24
