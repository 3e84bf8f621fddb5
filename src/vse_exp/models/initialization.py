"""Initial weights of the original (layers.py, `norm_weight`, `ortho_weight`, `xavier_weight`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vse_exp.text.vocabulary import PAD


def norm_weight_(weight: Tensor) -> None:
    """Uniform in (-0.1, 0.1), whatever its name says; orthogonal where square."""
    if weight.shape[0] == weight.shape[1]:
        ortho_weight_(weight)
    else:
        nn.init.uniform_(weight, -0.1, 0.1)


@torch.no_grad()
def ortho_weight_(weight: Tensor) -> None:
    """The left singular vectors of a square standard normal matrix."""
    weight.copy_(torch.linalg.svd(torch.randn_like(weight))[0])


@torch.no_grad()
def initialize_embedding(embedding: nn.Embedding, original: bool) -> None:
    """Uniform in (-0.1, 0.1); the original's table, which has no row for PAD, can be square."""
    rows = embedding.weight[PAD + 1 :]
    if original:
        norm_weight_(rows)
    else:
        nn.init.uniform_(rows, -0.1, 0.1)
    embedding.weight[PAD] = 0


@torch.no_grad()
def initialize_recurrent(layer: nn.RNNBase, recurrent_bias: bool) -> None:
    """Input maps uniform or orthogonal, recurrent maps orthogonal, gate by gate; zero biases, but
    for an LSTM that starts by keeping its cell.

    Without `recurrent_bias` the second bias stays zero.
    """
    size = layer.hidden_size
    for name, parameter in layer.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            if name.startswith("bias_hh") and not recurrent_bias:
                parameter.requires_grad_(False)
            if name.startswith("bias_ih") and isinstance(layer, nn.LSTM):
                parameter[size : 2 * size] = 1  # Jozefowicz et al. 2015
            continue
        for block in parameter.split(size):
            if name.startswith("weight_hh"):
                ortho_weight_(block)
            else:
                norm_weight_(block)
