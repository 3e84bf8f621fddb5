"""What an image encoder is: from features or pictures to the common space, before normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from vse_exp.images.preprocessing import Preprocessing
from vse_exp.models.encoder import Encoder

Blocks = Callable[[], Iterable[Tensor]]
"""All training images, in blocks of rows."""


class ImageEncoder(Encoder):
    """Features (B, dim_image), or (B, n, dim_image) of n regions or views, or pictures
    (B, 3, H, W), to vectors (B, dim).

    An encoder of one's own needs `__init__(self, dim_image, dim, *, keys…)` and `forward`; the
    other methods say what some encoders can do beside that. `dim_image` is None for pictures.
    """

    preprocessing: Preprocessing | None = None
    """How pictures are resized and cut; None: it takes features."""

    def __init__(self, dim_image: int | None, dim: int) -> None:
        super().__init__()
        self.dim_image, self.dim = dim_image, dim

    @property
    def makes(self) -> dict[str, Any]:
        """What it knows of the features that it makes of pictures, as `extract` records it."""
        return {}

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

    def start(self, images: Blocks, seed: int) -> None:
        """Told once before a training: given weights go in, and means of the training images.

        Of several processes the first is told all images, and what it keeps as parameters and
        buffers becomes that of the others, which are told a first block.
        """

    def compile_parts(self) -> None:
        # batches and regions vary in number; pictures cost more than a few compilations
        self.compile(dynamic=True if self.preprocessing is None else None)

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError
