"""What an image encoder is: from features or pictures to the common space, before normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.models.fusemix import FuseMix
from vse_exp.parts import Part
from vse_exp.similarity import Logit

Blocks = Callable[[], Iterable[Tensor]]
"""All training images, in blocks of rows."""


class ImageEncoder(nn.Module, Part):
    """Features (B, dim_image), or (B, n, dim_image) of n regions or views, or pictures
    (B, 3, H, W), to vectors (B, dim).

    An encoder of one's own needs `__init__(self, dim_image, dim, *, keys…)` and `forward`; the
    other methods say what some encoders can do beside that. `dim_image` is None for pictures.
    """

    preprocessing: Preprocessing | None = None
    """How pictures are resized and cut; None: it takes features."""

    logit: Logit | None = None
    """What the training that it comes from made of similarities; known from its start on."""

    @property
    def tower_of(self) -> tuple[dict[str, Any], nn.Module] | None:
        """Of a tower of another library's model: that model's architecture, and its module of one
        side."""
        return None

    def __init__(self, dim_image: int | None, dim: int) -> None:
        super().__init__()
        self.dim_image, self.dim = dim_image, dim

    @classmethod
    def complete(cls, keys: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Its keys with what follows from weights that they name.

        Before a training, and never for a checkpoint, which is complete.
        """
        return dict(keys)

    @classmethod
    def preprocessing_of(cls, keys: Mapping[str, Any]) -> Preprocessing | None:
        """What `preprocessing` of an encoder with these complete keys will be."""
        return None

    @classmethod
    def own_dim(cls, keys: Mapping[str, Any]) -> int | None:
        """The size of the common space where a pre-trained encoder fixes it."""
        return None

    def start(self, images: Blocks, seed: int) -> None:
        """Told once before a training: given weights go in, and means of the training images."""

    def set_epoch(self, epoch: int) -> None:
        """Told before the updates of an epoch, which may begin in its middle."""

    def mix(self, mixing: FuseMix) -> None:
        """Told before a batch of a training with `fusemix`; UserError without fixed vectors."""
        raise UserError(
            f"fusemix mixes fixed vectors, and {type(self).__name__} "
            "learns from pictures: leave it out."
        )

    def merge(self) -> dict[str, Any]:
        """Make adapters part of the weights that they stand beside; the keys that this changes."""
        return {}

    def compile_parts(self) -> None:
        """Hand to torch.compile what it helps; names in checkpoints stay."""
        self.compile()

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError
