"""The image tower of another library's dual encoder as an image encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vse_exp.images.preprocessing import Preprocessing, normalize_pixels
from vse_exp.models.image import Blocks, ImageEncoder
from vse_exp.models.towers.library import library
from vse_exp.models.towers.tower import Learn, Tower, found
from vse_exp.schema import Count, Positive, Share, Size


class ImageTower(Tower, ImageEncoder):
    """Pictures (B, 3, H, W), uint8 or float in 0..255, to what the library's own call gives for
    them, (B, dim). See `Tower` for the keys; `transform` is read with the model.
    """

    side = "image"

    def __init__(
        self,
        dim_image: None,
        dim: int,
        *,
        model: str | None = None,
        learn: Learn = "all",
        unfreeze_epoch: Count = 0,
        gradient_checkpointing: bool = False,
        lora_rank: Size = 8,
        lora_alpha: Positive = 16.0,
        lora_dropout: Share = 0.0,
        transform: dict[str, Any] | None = None,
        architecture: dict[str, Any] | None = None,
    ) -> None:
        ImageEncoder.__init__(self, dim_image, dim)
        self.model = model
        self.add_tower(
            dim, architecture, learn, unfreeze_epoch, gradient_checkpointing,
            lora_rank, lora_alpha, lora_dropout,
        )  # fmt: skip
        self.preprocessing = Preprocessing.from_dict(transform or {})

    @classmethod
    def complete(cls, keys: Mapping[str, Any], seed: int) -> dict[str, Any]:
        architecture, place = found(keys, cls.side)
        settings = library(architecture).read_preprocessing(place)
        settings = settings.changed(keys.get("transform") or {})
        return {**keys, "architecture": architecture, "transform": settings.to_dict()}

    @classmethod
    def preprocessing_of(cls, keys: Mapping[str, Any]) -> Preprocessing:
        return Preprocessing.from_dict(keys["transform"])

    @classmethod
    def own_dim(cls, keys: Mapping[str, Any]) -> int:
        return library(keys["architecture"]).dim(keys["architecture"]["config"])

    def start(self, images: Blocks, seed: int) -> None:
        self.load_tower(found({"model": self.model}, self.side)[1])

    def forward(self, images: Tensor) -> Tensor:
        assert self.preprocessing is not None
        settings = self.preprocessing
        pixels = normalize_pixels(images, settings.mean, settings.std, settings.bgr)
        return self.library.encode_images(self.tower, pixels)
