"""Pre-trained text models (sentence-transformers, Hugging Face) as sentence encoders.

A model is a folder with `config.json`, `tokenizer.json` and weights. Its configuration goes into
ModelConfig, its tokenizer into a SubwordVocabulary and its weights into the state, so that a
checkpoint needs the folder no more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.files import atomic_path
from vse_exp.models.config import ModelConfig
from vse_exp.models.pooling import build_pooling
from vse_exp.models.projection import Projection
from vse_exp.models.words import inside_mask, leave_out
from vse_exp.text.subwords import SubwordVocabulary
from vse_exp.text.vocabulary import TokenizedCaptions

log = logging.getLogger(__name__)


class PretrainedText(Projection):
    """A transformer, its pooled outputs of unit norm, and a map of these to the space: linear, or
    with a perceptron beside it (`text_head`).

    Frozen (`text_frozen`), the transformer is never trained and runs without dropout, and what it
    gives for a caption can be remembered (`start`). Otherwise it is trained with the rest, mostly
    at a lower rate: `lr_scales: {sentence_encoder.transformer: 0.1}`.
    """

    def __init__(self, vocab_size: int, config: ModelConfig) -> None:
        assert config.text_config is not None
        width = cast(int, config.dim_word)
        super().__init__(
            width,
            config.dim,
            center=config.center_text,
            dropout=config.dropout,
            hidden=config.mlp_hidden if config.text_head == "mlp" else None,
            hidden_dropout=config.mlp_dropout,
        )
        self.config = config
        self.transformer = _transformer(config.text_config)
        if config.text_frozen:
            self.transformer.requires_grad_(False).eval()
        self.pooling = build_pooling(config.sentence_pooling, width)
        self._memory: _Memory | None = None

    def train(self, mode: bool = True) -> PretrainedText:
        super().train(mode)
        if self.config.text_frozen:
            self.transformer.eval()
        return self

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Ids of pieces (B, T) int64, of which the first `lengths` (B,) count, to (B, dim)."""
        if self.config.text_frozen:
            vectors = self._frozen(tokens, lengths)
        else:
            if self.training and self.config.word_dropout:
                tokens, lengths = leave_out(tokens, lengths, self.config.word_dropout)
            vectors = self._read(tokens, lengths)
        return self.project(self.prepare(vectors))

    def _read(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        mask = None if lengths is None else inside_mask(tokens, lengths).long()
        states = self.transformer(input_ids=tokens, attention_mask=mask).last_hidden_state
        return normalize(self.pooling(states, lengths), dim=-1)

    @torch.no_grad()
    def _frozen(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        if self._memory is None:
            return self._read(tokens, lengths)
        keys = _keys(tokens, lengths)
        new = [row for row, key in enumerate(keys) if key not in self._memory.places]
        if new:
            sizes = None if lengths is None else lengths[new]
            read = self._read(tokens[new], sizes).float().cpu().numpy()
            self._memory.add([keys[row] for row in new], read)
        return torch.from_numpy(self._memory.vectors(keys)).to(self.projection.weight)

    def start(self, captions: TokenizedCaptions, folder: Path | None = None) -> None:
        """Read the training captions: the mean is theirs, and a frozen model remembers them, and
        from now on any other caption too.

        With `folder`, the vectors are kept there in a file named by the model and the captions.
        """
        if not (self.center or self.config.text_frozen):
            return
        path = None if folder is None else folder / f"captions-{self._name(captions)}.npy"
        if path is not None and path.is_file():
            vectors = np.load(path)
        else:
            vectors = self._read_all(captions)
            if path is not None:
                with atomic_path(path) as temporary:
                    np.save(temporary, vectors)
        if self.center:
            self.center_on([torch.from_numpy(vectors)])
        if self.config.text_frozen:
            keys = [
                captions.tokens[start:end].tobytes() for start, end in pairwise(captions.offsets)
            ]
            self._memory = _Memory(vectors.shape[1])
            self._memory.add(keys, vectors)

    @torch.no_grad()
    def _read_all(self, captions: TokenizedCaptions) -> np.ndarray:
        log.info("reading %d captions with %s, once", len(captions), self.config.text_model)
        vectors = np.empty((len(captions), cast(int, self.config.dim_word)), dtype=np.float32)
        device = self.projection.weight.device
        by_length = np.argsort(captions.lengths, kind="stable")
        was_training = self.training
        self.eval()
        for start in range(0, len(captions), 256):
            chosen = by_length[start : start + 256]
            tokens, lengths = captions.batch(chosen)
            lengths = None if lengths is None else lengths.to(device)
            vectors[chosen] = self._read(tokens.to(device), lengths).float().cpu().numpy()
        self.train(was_training)
        return vectors

    def _name(self, captions: TokenizedCaptions) -> str:
        digest = hashlib.sha256(captions.offsets.tobytes() + captions.tokens.tobytes())
        digest.update(self.config.sentence_pooling.encode())
        for parameter in self.transformer.parameters():
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:24]


class _Memory:
    """Vectors of captions that were read before, by their ids."""

    def __init__(self, dim: int) -> None:
        self.places: dict[bytes, int] = {}
        self.table = np.empty((1024, dim), dtype=np.float32)

    def add(self, keys: list[bytes], vectors: np.ndarray) -> None:
        for key, vector in zip(keys, vectors, strict=True):
            place = self.places.setdefault(key, len(self.places))
            if place == len(self.table):
                self.table = np.concatenate([self.table, np.empty_like(self.table)])
            self.table[place] = vector

    def vectors(self, keys: list[bytes]) -> np.ndarray:
        return self.table[[self.places[key] for key in keys]]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Memory:
        return self  # an average of the weights shares it: what is remembered never changes


def _keys(tokens: Tensor, lengths: Tensor | None) -> list[bytes]:
    ids = tokens.cpu().numpy()
    if lengths is None:
        return [row.tobytes() for row in ids]
    return [row[:size].tobytes() for row, size in zip(ids, lengths.tolist(), strict=True)]


def model_folder(name: str) -> Path:
    """Where the model `name` lies: a folder, `package:NAME` for one inside an installed Python
    package, or a name on the Hugging Face hub, which is fetched if it is not there yet.
    """
    folder = Path(name)
    if name.startswith("package:"):
        package = name.removeprefix("package:")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise UserError(f"model.text_model={name}: no package {package}: pip install it.")
        inside = Path(found.submodule_search_locations[0])
        configs = sorted(inside.rglob("config.json"), key=lambda path: len(path.parts))
        folder = configs[0].parent if configs else inside
    elif not folder.exists() and name.count("/") == 1:
        folder = _from_hub(name)
    if not (folder / "config.json").is_file():
        raise UserError(
            f"model.text_model={name}: no config.json in {folder}: give the folder of a model, "
            "package:NAME, or a name on the Hugging Face hub."
        )
    return folder


def _from_hub(name: str) -> Path:
    _needs_transformers()
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "1_Pooling/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # no network, no such model, no right to it: many kinds
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"model.text_model={name} cannot be fetched: {reason}") from error


def read_text_config(name: str) -> dict[str, Any]:
    """What ModelConfig keeps of a model: its transformer's configuration and its pooling."""
    folder = model_folder(name)
    pooling = "mean"
    chosen = folder / "1_Pooling" / "config.json"
    if chosen.is_file():
        modes = json.loads(chosen.read_text(encoding="utf-8"))
        for mode, ours in (("cls_token", "first"), ("mean_tokens", "mean"), ("max_tokens", "max")):
            if modes.get(f"pooling_mode_{mode}"):
                pooling = ours
    transformer = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {"transformer": transformer, "pooling": pooling}


def read_subwords(name: str) -> SubwordVocabulary:
    """The tokenizer of a model."""
    folder = model_folder(name)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise UserError(f"model.text_model={name}: no tokenizer.json in {folder}.")
    limits = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    max_length = limits.get("max_position_embeddings", 512)
    limit = folder / "sentence_bert_config.json"
    if limit.is_file():
        asked = json.loads(limit.read_text(encoding="utf-8")).get("max_seq_length")
        max_length = min(max_length, asked or max_length)
    return SubwordVocabulary(file.read_text(encoding="utf-8"), max_length)


def load_text_weights(encoder: PretrainedText) -> None:
    """Start from the weights in the folder of `text_model`."""
    _needs_transformers()
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    folder = model_folder(cast(str, encoder.config.text_model))
    state = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
    unused = [name for name in state if name.startswith("pooler.")]
    encoder.transformer.load_state_dict({n: t for n, t in state.items() if n not in unused})


def _transformer(text_config: dict[str, Any]) -> nn.Module:
    _needs_transformers()
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**text_config["transformer"])
    transformer = AutoModel.from_config(config, dtype=torch.float32)
    if hasattr(transformer, "pooler"):
        transformer.pooler = None  # made for another task, and not used
    return transformer


def _needs_transformers() -> None:
    if importlib.util.find_spec("transformers") is None:
        raise UserError(
            "model.encoder=pretrained needs the extra `text`: pip install 'vse_exp[text]'."
        )
