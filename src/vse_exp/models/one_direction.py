"""One direction of one layer of torch's GRU or LSTM, over sequences filled up to one length.

Torch reads sequences of different lengths packed, for which the host has to know the lengths. A
direction alone needs no packing: it is past a sequence's end that what it reads is filling.
"""

from __future__ import annotations

import warnings
from typing import cast

import torch
from torch import Tensor, nn


def run_direction(
    recurrence: nn.RNNBase, inputs: Tensor, layer: int = 0, backwards: bool = False
) -> Tensor:
    """States (B, T, h) after each of the inputs (B, T, d), read in the order in which they come.

    With `backwards` by the weights of the other direction: who calls has turned the inputs.
    """
    suffix = f"l{layer}_reverse" if backwards else f"l{layer}"
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [cast(Tensor, getattr(recurrence, f"{name}_{suffix}")) for name in names]
    if inputs.device.type == "cpu":  # oneDNN fails at bfloat16
        wide = torch.promote_types(inputs.dtype, torch.float32)
        with torch.autocast("cpu", enabled=False):
            states = _run(recurrence, inputs.to(wide), [each.to(wide) for each in weights])
        return states.to(inputs.dtype)
    with warnings.catch_warnings():
        # cuDNN copies the weights of one direction out of those of both, which costs little
        warnings.filterwarnings("ignore", message="RNN module weights are not part")
        return _run(recurrence, inputs, weights)


def _run(recurrence: nn.RNNBase, inputs: Tensor, weights: list[Tensor]) -> Tensor:
    start = inputs.new_zeros(1, inputs.shape[0], recurrence.hidden_size)
    options = (True, 1, 0.0, recurrence.training, False, True)
    if isinstance(recurrence, nn.LSTM):
        return torch.lstm(inputs, (start, start), weights, *options)[0]
    return torch.gru(inputs, start, weights, *options)[0]
