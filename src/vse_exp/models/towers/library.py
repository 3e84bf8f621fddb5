"""What is asked of a library whose dual encoders' towers we train."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.models.towers.cutting import Side
from vse_exp.text.subwords import SubwordVocabulary

Architecture = dict[str, Any]
"""`library`, and `config` as that library's files have it: all that a checkpoint needs besides
weights, tokenizer and preprocessing."""


class Library(Protocol):
    """A module with these functions; `place` is where a model lies, as `find` gives it."""

    def read_config(self, place: str) -> dict[str, Any]: ...

    def read_vocabulary(self, place: str) -> SubwordVocabulary: ...

    def read_preprocessing(self, place: str) -> Preprocessing: ...

    def read_weights(self, place: str) -> Mapping[str, Tensor]:
        """Of both towers, with `logit_scale` and, where it has one, `logit_bias`."""
        ...

    def build(self, config: dict[str, Any], side: Side) -> nn.Module:
        """One tower at random, whose parameters have the names that they have in the whole."""
        ...

    def dim(self, config: dict[str, Any]) -> int: ...

    def heads(self, side: Side) -> str:
        """A pattern for the names of a tower's projection to the common space."""
        ...

    def encode_text(self, tower: nn.Module, tokens: Tensor, mask: Tensor | None) -> Tensor: ...

    def encode_images(self, tower: nn.Module, pixels: Tensor) -> Tensor: ...

    def checkpoint_gradients(self, tower: nn.Module) -> None: ...

    def write(
        self,
        folder: Path,
        config: dict[str, Any],
        state: Mapping[str, Tensor],
        vocabulary: SubwordVocabulary,
        cut: Preprocessing,
    ) -> None:
        """A whole model as the library's own folder; `state` is that of both towers, as
        `read_weights` gives it."""
        ...


def library(architecture: Architecture) -> Library:
    """UserError where an architecture is of neither library."""
    name = architecture.get("library")
    if name not in ("transformers", "open_clip"):
        raise UserError(f"The towers' architecture is of {name}: of transformers or open_clip.")
    return import_module(f"vse_exp.models.towers.of_{name}")  # type: ignore[return-value]


def find(name: str) -> tuple[Architecture, str]:
    """The architecture of a model that the user typed, and the place where its files lie.

    `openclip:MODEL:TAG`, `openclip:local-dir:FOLDER` and folders in which OpenCLIP's config lies
    are OpenCLIP's; all others transformers', by folder or name on the Hugging Face hub.
    """
    from vse_exp.models.towers import of_open_clip, of_transformers

    place = of_open_clip.find(name)
    if place is not None:
        return {"library": "open_clip", "config": of_open_clip.read_config(place)}, place
    place = of_transformers.find(name)
    return {"library": "transformers", "config": of_transformers.read_config(place)}, place
