"""The GRU and LSTM sentence encoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear

from vse_exp.errors import UserError
from vse_exp.models.initialization import initialize_recurrent
from vse_exp.models.one_direction import run_direction
from vse_exp.models.pooling import LastPooling, Pooling
from vse_exp.models.prefix_tree import prefix_tree
from vse_exp.models.recurrence import gru, lstm
from vse_exp.models.words import Dropped, Init, WordEncoder, different_words, reverse
from vse_exp.schema import Share, Size
from vse_exp.text.vocabulary import inside_mask

DIM_WORD = 300
"""Of word vectors, the original's."""


class Recurrent(WordEncoder):
    """A recurrence; by default its last state, after it has read <eos>.

    Two directions are averaged, as VSE-infinity does. The weights are those of torch's module
    `recurrence`; on a GPU, and in half precision, it runs itself. Otherwise equal beginnings of
    captions are read once, and dropout between layers falls alike on them.
    """

    layer: type[nn.GRU] | type[nn.LSTM]
    scan: Callable[..., Tensor]
    """The recurrence over a prefix tree."""

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        dim_word: Size | None = None,
        num_layers: Size = 1,
        bidirectional: bool = False,
        pooling: Callable[[int], Pooling] | None = None,
        dropout: Share = 0.0,
        word_dropout: Share = 0.0,
        dropped_words: Dropped = "unknown",
        recurrent_bias: bool = False,
        word_vectors: str | None = None,
        init: Init = "default",
    ) -> None:
        dim_word = dim_word or DIM_WORD
        super().__init__(
            vocab_size, dim, dim_word, dropout, word_dropout, dropped_words, word_vectors, init
        )
        self.num_layers, self.bidirectional = num_layers, bidirectional
        self.recurrent_bias = recurrent_bias
        self.recurrence = self.layer(
            dim_word,
            dim,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
        )
        if init != "torch":
            initialize_recurrent(self.recurrence, recurrent_bias)
        elif not recurrent_bias:
            raise UserError(
                "model.encoder.init=torch starts both biases, so it needs "
                "model.encoder.recurrent_bias=true."
            )
        self.pooling = (pooling or LastPooling)(dim)

    def encode(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        fast = self.on_cpu_in_full_precision()
        directions = self._by_trees(tokens, lengths) if fast else self._by_torch(tokens, lengths)
        if self.pooling.takes_last:
            return _mean([each.states.index_select(0, each.ends) for each in directions])
        states = [each.states.index_select(0, each.nodes.flatten()) for each in directions]
        return self.pooling(_mean(states).view(*tokens.shape, -1), lengths)

    def _by_trees(self, tokens: Tensor, lengths: Tensor | None) -> list[_Direction]:
        words, places = different_words(tokens, lengths)
        inputs = self.embedding.rows(words)
        directions = self._layer(0, inputs, places, lengths)
        for layer in range(1, self.num_layers):
            if self.bidirectional:
                inputs, places = _side_by_side(directions, lengths)
            else:
                inputs, places = directions[0].states, directions[0].nodes
            inputs = dropout(inputs, self.dropout, self.training)
            directions = self._layer(layer, inputs, places, lengths)
        return directions

    def _layer(
        self, layer: int, inputs: Tensor, places: Tensor, lengths: Tensor | None
    ) -> list[_Direction]:
        """One layer, over captions given as rows of `inputs`, `places` (B, T)."""
        directions = []
        for suffix in ("", "_reverse") if self.bidirectional else ("",):
            weight_ih, weight_hh, bias_ih, bias_hh = (
                getattr(self.recurrence, f"{name}_l{layer}{suffix}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            read = reverse(places, lengths) if suffix else places
            tree = prefix_tree(read, len(inputs), lengths)
            bias = bias_hh if self.recurrent_bias else None
            states = self.scan(linear(inputs, weight_ih, bias_ih), weight_hh, bias, tree)
            nodes = reverse(tree.nodes, lengths) if suffix else tree.nodes
            directions.append(_Direction(states, nodes, tree.ends))
        return directions

    def _by_torch(self, tokens: Tensor, lengths: Tensor | None) -> list[_Direction]:
        inputs = self.embedding(tokens)
        places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        turned = reverse(places, lengths)[..., None]
        both: list[Tensor] = []
        for layer in range(self.num_layers):
            if both:
                inputs = dropout(torch.cat(both, 2), self.dropout, self.training)
            both = [run_direction(self.recurrence, inputs, layer)]
            if self.bidirectional:
                states = inputs.gather(1, turned.expand_as(inputs))
                states = run_direction(self.recurrence, states, layer, backwards=True)
                both.append(states.gather(1, turned.expand_as(states)))
        nodes = torch.arange(tokens.numel(), device=tokens.device).view_as(tokens)
        starts = nodes[:, 0]
        last_of = (starts + (tokens.shape[1] if lengths is None else lengths) - 1, starts)
        return [
            _Direction(states.flatten(0, 1), nodes, last)
            for states, last in zip(both, last_of, strict=False)
        ]


class GRU(Recurrent):
    """The gated recurrent unit (Cho et al. 2014), the original's and VSE++'s."""

    layer, scan = nn.GRU, staticmethod(gru)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997)."""

    layer, scan = nn.LSTM, staticmethod(lstm)


class _Direction(NamedTuple):
    """States (n, dim) of one direction; the place of each word's, (B, T), and of the last read."""

    states: Tensor
    nodes: Tensor
    ends: Tensor


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)


def _side_by_side(directions: list[_Direction], lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """The states of both directions, a row for each word, and the place of each word's."""
    nodes = directions[0].nodes
    inside = torch.ones_like(nodes, dtype=torch.bool)
    if lengths is not None:
        inside = inside_mask(nodes, lengths)
    inputs = torch.cat([each.states.index_select(0, each.nodes[inside]) for each in directions], 1)
    places = torch.zeros_like(nodes)
    places[inside] = torch.arange(len(inputs))
    return inputs, places
