"""Both encoders of a model as ONNX graphs: to run here, and as files for programs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.files import write_json
from vse_exp.models.vse import VSE
from vse_exp.parts import TARGET
from vse_exp.runtime import OnnxNetwork
from vse_exp.text.tokenizers import WORD
from vse_exp.text.vocabulary import EOS, FIRST_WORD, PAD, UNK

SENTENCES, IMAGES, ABOUT, TOKENIZER = (
    "sentences.onnx",
    "images.onnx",
    "model.json",
    "tokenizer.json",
)
CLOSE = 1e-5
"""How far values of unit rows may lie from torch's."""
_TRACED = ["a dog", "two dogs run"]
_TRIED = ["a man", "the red bus stops here now, and a dog runs", "snow"]


class _Sentences(nn.Module):
    def __init__(self, model: VSE) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return VSE.embed_captions(self.model, tokens, lengths)


class _Images(nn.Module):
    def __init__(self, model: VSE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return VSE.embed_images(self.model, images)


def sentence_network(model: VSE) -> OnnxNetwork:
    """Ids `tokens` (B, T) int64 and `lengths` (B,) int64 to unit `rows` (B, dim).

    UserError for an encoder without a graph, or whose graph gives other rows.
    """
    sizes = {"tokens": {0: "captions", 1: "length"}, "lengths": {0: "captions"}}
    network = _Sentences(model).eval()
    traced = dict(zip(sizes, _batch(model, _TRACED), strict=True))
    copy = _copied(network, traced, sizes | {"rows": {0: "captions"}}, "sentence")
    return _checked(copy, network, _batch(model, _TRIED), "sentence")


def image_network(model: VSE, rank: int = 2) -> OnnxNetwork:
    """Features `images` (B, dim_image), or (B, n, dim_image) where `rank` is 3, or pictures in
    0..255 (B, 3, side, side) for a model that takes them, to its `rows` (B, dim).

    UserError as for sentences.
    """
    network, axes = _Images(model).eval(), {0: "images"}
    if model.preprocessing is not None:
        shape = model.preprocessing.shape
        first, other = (torch.rand(n, *shape) * 255 for n in (2, 3))
    else:
        size = int(model.dim_image or 0)
        first, other = (torch.randn(n, *(n + 1,) * (rank - 2), size) for n in (2, 3))
        axes |= {1: "regions"} if rank == 3 else {}
    sizes = {"images": axes, "rows": {0: "images"}}
    copy = _copied(network, {"images": first}, sizes, "image")
    return _checked(copy, network, (other,), "image")


def _batch(model: VSE, captions: list[str]) -> tuple[Tensor, Tensor]:
    tokens, lengths = model.tokenize(captions).batch(np.arange(len(captions)))
    return tokens, _lengths(tokens, lengths)


def _lengths(tokens: Tensor, lengths: Tensor | None) -> Tensor:
    return torch.full((len(tokens),), tokens.shape[1]) if lengths is None else lengths


def _copied(
    network: nn.Module, traced: dict[str, Tensor], sizes: dict[str, dict[int, str]], side: str
) -> OnnxNetwork:
    try:
        return OnnxNetwork(network, traced, ("rows",), sizes)
    except UserError as error:
        raise UserError(f"The {side} encoder: {error}") from error


@torch.no_grad()
def _checked(
    copy: OnnxNetwork, network: nn.Module, others: tuple[Tensor, ...], side: str
) -> OnnxNetwork:
    """The copy, where it gives torch's rows for inputs of another number and length than traced."""
    expected = network(*others)
    try:
        far = float((copy(*others)[0] - expected).abs().max() / expected.abs().max().clamp_min(1))
    except Exception as error:  # ONNX Runtime's own kinds
        raise UserError(f"The {side} encoder's ONNX graph takes no other sizes: {error}") from error
    if not far <= CLOSE:
        raise UserError(
            f"The {side} encoder's ONNX graph gives rows that differ from torch's by {far:.1g}: it "
            "does what a graph cannot say, so leave onnx out."
        )
    return copy


def run_in_onnx(model: VSE) -> None:
    """Have ONNX Runtime compute a model's rows from now on, on the CPU. UserError for parts that
    have no graph."""
    sentences, copies = sentence_network(model), dict[int, OnnxNetwork]()

    def embed_captions(tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        return sentences(tokens, _lengths(tokens, lengths))[0]

    def embed_images(images: Tensor, normalized: bool = True) -> Tensor:
        copy = copies.get(images.dim())
        if copy is None:
            copy = copies[images.dim()] = image_network(model, images.dim())
        return (copy.one_by_one if model.takes_pictures else copy)(images.float())[0]

    model.embed_captions, model.embed_images, model.runtime = embed_captions, embed_images, "onnx"


def write_onnx(model: VSE, folder: Path) -> None:
    """Write both graphs, and in `model.json` all else that a program needs to encode: how a caption
    becomes ids, how pictures are cut or features made, and the similarity. UserError for parts
    without a graph."""
    folder.mkdir(parents=True, exist_ok=True)
    regions = len((model.provenance or {}).get("row_shape", ())) == 2
    (folder / SENTENCES).write_bytes(sentence_network(model).graph)
    (folder / IMAGES).write_bytes(image_network(model, 3 if regions else 2).graph)
    about = {
        "version": 1,
        "dim": model.dim,
        "similarity": type(model.similarity).__name__,
        "sentences": {"graph": SENTENCES, "tokens": _tokens(model.vocabulary.to_dict(), folder)},
        "images": {
            "graph": IMAGES,
            "pictures": model.preprocessing.to_dict() if model.preprocessing else None,
            "features": model.provenance,
        },
    }
    write_json(folder / ABOUT, about)


def _tokens(vocabulary: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A caption's ids: those of its words, and behind them those of its pieces plus `offset`."""
    of_words, of_pieces = (
        (vocabulary["words"], vocabulary["pieces"])
        if "pieces" in vocabulary
        else (vocabulary, None)
        if "words" in vocabulary
        else (None, vocabulary)
    )
    told: dict[str, Any] = {"fill": PAD, "words": None, "pieces": None}
    offset = 0
    if of_words is not None:
        tokenizer = dict(of_words["tokenizer"])
        name = tokenizer.pop(TARGET).rpartition(".")[2]
        ids = {"first_word": FIRST_WORD, "unknown": UNK, "end": EOS}
        pattern = {"pattern": WORD.pattern} if name in ("Words", "Stems", "Multilingual") else {}
        told["words"] = {**of_words, "tokenizer": {"name": name, **tokenizer, **pattern}, **ids}
        offset = FIRST_WORD + len(of_words["words"])
    if of_pieces is not None:
        text, rest = of_pieces["tokenizer_json"], {**of_pieces, "tokenizer_json": TOKENIZER}
        (folder / TOKENIZER).write_text(text, encoding="utf-8")
        told["pieces"] = {**rest, "offset": offset}
    return told
