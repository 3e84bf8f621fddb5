"""A small transformer as sentence encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from vse_exp.models.pooling import MeanPooling, Pooling
from vse_exp.models.rnn import DIM_WORD
from vse_exp.models.words import Dropped, Init, WordEncoder
from vse_exp.schema import Share, Size
from vse_exp.text.vocabulary import inside_mask

MAX_POSITIONS = 128
"""Words further on share the last position."""


class Transformer(WordEncoder):
    """Pre-norm transformer (Vaswani et al. 2017; Xiong et al. 2020) of width `dim_word`, positions
    learned; its outputs are pooled and mapped to `dim`."""

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        dim_word: Size | None = None,
        num_layers: Size = 1,
        pooling: Callable[[int], Pooling] | None = None,
        dropout: Share = 0.0,
        word_dropout: Share = 0.0,
        dropped_words: Dropped = "unknown",
        word_vectors: str | None = None,
        init: Init = "default",
    ) -> None:
        width = dim_word or DIM_WORD
        super().__init__(
            vocab_size, dim, width, dropout, word_dropout, dropped_words, word_vectors, init
        )
        self.positions = nn.Embedding(MAX_POSITIONS, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            width,
            _heads(width),
            dim_feedforward=4 * width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, num_layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.pooling = (pooling or MeanPooling)(width)
        self.projection = nn.Linear(width, dim)

    def compile_parts(self) -> None:
        self.pooling.compile_parts()
        self.compile(dynamic=True)  # captions of many lengths

    def sparse_tables(self) -> list[nn.Embedding]:
        return []  # positions are another table, whose gradient is dense

    def encode(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device).clamp(max=MAX_POSITIONS - 1)
        vectors = self.embedding(tokens) + self.positions(places)
        outside = None if lengths is None else ~inside_mask(tokens, lengths)
        run = self._plainly if torch.jit.is_tracing() else self.layers
        return self.projection(self.pooling(run(vectors, src_key_padding_mask=outside), lengths))

    def _plainly(self, vectors: Tensor, src_key_padding_mask: Tensor | None) -> Tensor:
        """What `layers` compute when evaluated: torch's attention, traced, knows one length."""
        mask = None if src_key_padding_mask is None else ~src_key_padding_mask[:, None, None]
        for layer in cast(list[Any], list(self.layers.layers)):
            attention = layer.self_attn
            parts = linear(layer.norm1(vectors), attention.in_proj_weight, attention.in_proj_bias)
            heads = parts.view(*vectors.shape[:2], 3, attention.num_heads, -1).permute(
                2, 0, 3, 1, 4
            )
            seen = scaled_dot_product_attention(*heads.unbind(0), attn_mask=mask)
            vectors = vectors + attention.out_proj(seen.transpose(1, 2).flatten(2))
            between = layer.activation(layer.linear1(layer.norm2(vectors)))
            vectors = vectors + layer.linear2(between)
        return cast(nn.Module, self.layers.norm)(vectors)


def _heads(width: int) -> int:
    """The most heads that divide `width` into 64 values each or more."""
    return max(heads for heads in range(1, max(1, width // 64) + 1) if width % heads == 0)
