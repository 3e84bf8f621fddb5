"""Pre-trained text models (sentence-transformers, Hugging Face) as sentence encoders.

Its architecture goes into the encoder's keys, its tokenizer into a SubwordVocabulary and its
weights into the state, so that a checkpoint needs the model's folder no more.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.models.dropping import leave_out
from vse_exp.models.memory import CaptionMemory, numbers_of, numbers_of_all
from vse_exp.models.pooling import Pooling
from vse_exp.models.projection import Projection
from vse_exp.models.sentence import SentenceEncoder
from vse_exp.models.text_models import (
    KEY,
    build_transformer,
    model_folder,
    read_architecture,
    read_subwords,
    width_of,
)
from vse_exp.schema import Count, Share, Size
from vse_exp.sharding import rows_once
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary, inside_mask

log = logging.getLogger(__name__)
PART = 64
"""Captions that are read together."""


class PretrainedText(Projection, SentenceEncoder):
    """A transformer, its pooled outputs of unit norm, and a map of these to the space: linear, or
    with a perceptron beside it (`head`).

    Frozen, the transformer is never trained and runs without dropout, and what it gives for a
    caption can be remembered (`start`). Otherwise it is trained with the rest from the epoch
    `unfreeze_epoch`, mostly at a lower rate: `lr_scales: {sentence_encoder.transformer: 0.1}`.
    `architecture` is read from `model` before a training and stands in its checkpoint. Raises
    UserError without it.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        *,
        model: str | None = None,
        frozen: bool = True,
        unfreeze_epoch: Count = 0,
        pooling: Callable[[int], Pooling] | None = None,
        head: Literal["linear", "mlp"] = "linear",
        hidden: Size = 1024,
        hidden_dropout: Share = 0.0,
        center: bool = False,
        dropout: Share = 0.0,
        word_dropout: Share = 0.0,
        architecture: dict[str, Any] | None = None,
    ) -> None:
        if architecture is None or pooling is None:
            raise UserError(
                "The pre-trained text model's architecture is missing: a checkpoint holds it, and "
                f"a training reads it from {KEY}."
            )
        SentenceEncoder.__init__(self, vocab_size, dim)
        width = width_of(architecture)
        perceptron = {"hidden": hidden, "hidden_dropout": hidden_dropout} if head == "mlp" else {}
        self.add_projection(width, dim, center=center, dropout=dropout, **perceptron)
        self.model, self.word_dropout = model, word_dropout
        self.unfreeze_epoch = None if frozen else unfreeze_epoch
        self.frozen = self.unfreeze_epoch != 0
        # what learns later stays known to the optimiser from the start: without gradients it is
        # passed over
        self.transformer = (
            build_transformer(architecture).requires_grad_(not frozen).train(not frozen)
        )
        self.pooling = pooling(width)
        self._memory: CaptionMemory | None = None
        self.register_load_state_dict_pre_hook(_forget)

    @classmethod
    def complete(cls, keys: Mapping[str, Any]) -> dict[str, Any]:
        if keys.get("model") is None:
            raise UserError(
                f"model.encoder=pretrained needs {KEY}: a folder, package:NAME, or a name on the "
                "Hugging Face hub."
            )
        architecture, pooling = read_architecture(keys["model"])
        return {**keys, "architecture": architecture, "pooling": keys.get("pooling") or pooling}

    @classmethod
    def own_vocabulary(cls, keys: Mapping[str, Any], words: Callable[[], Vocabulary]) -> Vocabulary:
        return read_subwords(keys["model"])

    def compile_parts(self) -> None:
        self.transformer.compile(dynamic=True)  # captions of many lengths

    def set_epoch(self, epoch: int) -> None:
        frozen = self.unfreeze_epoch is None or epoch < self.unfreeze_epoch
        if frozen != self.frozen:
            self.frozen, self._memory = frozen, None
            self.train(self.training)

    def train(self, mode: bool = True) -> PretrainedText:
        super().train(mode)
        if self.frozen:
            self.transformer.eval()
        return self

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Ids of pieces (B, T) int64, of which the first `lengths` (B,) count, to (B, dim)."""
        if self.frozen:
            vectors = self._frozen(tokens, lengths)
        else:
            if self.training and self.word_dropout:
                tokens, lengths = leave_out(tokens, lengths, self.word_dropout)
            vectors = self._read_by_length(tokens, lengths)
        return self.project(self.prepare(self.mixed(vectors)))

    def _read_by_length(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """A large batch of any lengths in parts, so that short captions are not filled to the
        longest: on a CPU, for a GPU would have to be asked what the longest of a part is."""
        if lengths is None or tokens.device.type != "cpu" or len(tokens) < 4 * PART:
            return self._read(tokens, lengths)
        order = lengths.argsort(stable=True)
        parts = [
            self._read(tokens[part, : int(lengths[part[-1]])], lengths[part])
            for part in order.split(PART)
        ]
        return torch.cat(parts)[order.argsort()]

    def _read(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        # what is further out is filling, which a GPU is not asked about
        tokens = tokens[:, : getattr(self.transformer.config, "max_position_embeddings", None)]
        mask = None if lengths is None else inside_mask(tokens, lengths).long()
        kind = cast(Any, self.transformer.config)._attn_implementation
        if mask is not None and tokens.device.type != "cpu" and kind == "sdpa":
            # as attention takes it: of a plain one transformers asks whether it hides anything
            mask = mask.bool()[:, None, None].expand(-1, 1, tokens.shape[1], -1)
        states = self.transformer(input_ids=tokens, attention_mask=mask).last_hidden_state
        return normalize(self.pooling(states, lengths), dim=-1)

    @torch.no_grad()
    def _frozen(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        if self._memory is None:
            return self._read(tokens, lengths)
        numbers = numbers_of(tokens, lengths)
        vectors, known = self._memory.to(tokens.device).find(numbers)
        if self.training and tokens.device.type != "cpu":
            # all were read before the training: to look whether some were not would be to wait,
            # and an unknown one makes the loss NaN, which ends it
            vectors = vectors.masked_fill(~known[:, None], torch.nan)
        elif not bool(known.all()):
            new = (~known).nonzero()[:, 0]
            sizes = None if lengths is None else lengths[new]
            read = self._read(tokens[new], sizes).float()
            self._memory.add(numbers[new], read)
            vectors[new] = read
        return vectors.to(self.projection.weight)

    def start(self, captions: TokenizedCaptions, words: Vocabulary, cache: Path) -> None:
        """Load the weights, and read the training captions: the mean is theirs, and a frozen model
        remembers them, and from now on any other caption too.

        The vectors are kept in `cache`, in a folder named by the model and the captions, for which
        all processes read together.
        """
        self._load_weights()
        self._memory = None
        if self.center or self.frozen:
            self.fit_mean([torch.from_numpy(self._vectors_of(captions, cache))])

    def remember(self, captions: TokenizedCaptions, cache: Path) -> None:
        if self.frozen:
            self._vectors_of(captions, cache)

    def frozen_vectors(self, captions: TokenizedCaptions) -> Tensor | None:
        if not self.frozen:
            return None
        rows = range(0, len(captions), 1024)
        every = np.arange(len(captions))
        parts = [self._frozen(*captions.batch(every[row : row + 1024])) for row in rows]
        return torch.cat(parts)

    def _vectors_of(self, captions: TokenizedCaptions, cache: Path) -> np.ndarray:
        """Outputs (n, width), from the files in `cache` where they are there."""
        folder = cache / f"captions-{self._name(captions)}"
        vectors = rows_once(folder, len(captions), partial(self._read_rows, captions))
        if self.frozen:
            self._memory = self._memory or CaptionMemory(vectors.shape[1])
            numbers, device = numbers_of_all(captions), self._memory.numbers.device
            self._memory.add(numbers.to(device), torch.from_numpy(vectors).to(device))
        return vectors

    def _load_weights(self) -> None:
        from transformers import AutoModel
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        folder = model_folder(cast(str, self.model))
        state = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
        unused = [name for name in state if name.startswith("pooler.")]
        self.transformer.load_state_dict({n: t for n, t in state.items() if n not in unused})

    @torch.no_grad()
    def _read_rows(self, captions: TokenizedCaptions, rows: range) -> np.ndarray:
        done, n = rows.stop, len(captions)
        log.info("reading captions %d to %d of %d with %s, once", rows.start, done, n, self.model)
        vectors = np.empty((len(rows), self.projection.in_features), dtype=np.float32)
        device = self.projection.weight.device
        by_length = np.argsort(captions.lengths[rows.start : rows.stop], kind="stable")
        was_training = self.training
        self.eval()
        for start in range(0, len(rows), 256):
            chosen = by_length[start : start + 256]
            tokens, lengths = captions.batch(rows.start + chosen)
            lengths = None if lengths is None else lengths.to(device)
            vectors[chosen] = self._read(tokens.to(device), lengths).float().cpu().numpy()
        self.train(was_training)
        return vectors

    def _name(self, captions: TokenizedCaptions) -> str:
        digest = hashlib.sha256(captions.offsets.tobytes() + captions.tokens.tobytes())
        digest.update(type(self.pooling).__name__.encode())
        for parameter in self.transformer.parameters():
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:24]


def _forget(module: PretrainedText, state: Mapping[str, Any], prefix: str, *_: Any) -> None:
    """Nothing is remembered of what other weights gave."""
    own = module.transformer.state_dict(prefix=f"{prefix}transformer.")
    given = {name: state.get(name, tensor).to(tensor) for name, tensor in own.items()}
    if not all(torch.equal(given[name], tensor) for name, tensor in own.items()):
        module._memory = None
