"""What the encoders of both sides are asked, and what most of them answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.models.fusemix import FuseMix
from vse_exp.parts import Part
from vse_exp.similarity import Logit


class Encoder(nn.Module, Part):
    """Base of `SentenceEncoder` and `ImageEncoder`."""

    logit: Logit | None = None
    """What the training that it comes from made of similarities; known from its start on."""
    mixing: FuseMix | None = None
    """What `mix` was told last."""

    @property
    def tower_of(self) -> tuple[dict[str, Any], nn.Module] | None:
        """Of a tower of another library's model: that model's architecture, and its module of one
        side."""
        return None

    @classmethod
    def own_dim(cls, keys: Mapping[str, Any]) -> int | None:
        """The size of the common space where a pre-trained encoder fixes it."""
        return None

    def adopt(self, trained: Encoder) -> None:
        """Take the weights of a trained encoder. RuntimeError where they do not fit."""
        self.load_state_dict(trained.state_dict())

    def set_epoch(self, epoch: int) -> None:
        """Told before the updates of an epoch, which may begin in its middle."""

    def mix(self, mixing: FuseMix) -> None:
        """Told before a batch of a training with `fusemix`; UserError without fixed vectors."""
        raise UserError(
            f"fusemix mixes fixed vectors, and {type(self).__name__} begins with none: leave "
            "it out."
        )

    def mixed(self, vectors: Tensor) -> Tensor:
        """Vectors as they are given, in a training with `fusemix` mixed."""
        return self.mixing(vectors) if self.training and self.mixing else vectors

    def merge(self) -> dict[str, Any]:
        """Make adapters part of the weights that they stand beside; the keys that this changes."""
        return {}

    def compile_parts(self) -> None:
        """Hand to torch.compile what it helps; names in checkpoints stay."""
