"""An image encoder from pixels: a backbone, and the ordinary image encoder on its features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing, normalize_pixels
from vse_exp.models.encoder import Encoder
from vse_exp.models.feature_encoders import MLPImageEncoder
from vse_exp.models.image import Blocks, ImageEncoder
from vse_exp.models.small_cnn import SmallCNN
from vse_exp.schema import Count

SMALL_CNN = "small_cnn"
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Trunk(NamedTuple):
    """A backbone from normalised pixels (B, 3, crop, crop) to features (B, dim)."""

    module: nn.Module
    preprocessing: Preprocessing
    dim: int


_AT_START: dict[tuple[str, str, int], nn.Module] = {}
"""The network that `complete` has built with the weights of a training's start, until `start`."""


class BackboneImageEncoder(ImageEncoder):
    """Pictures (B, 3, H, W), uint8 or float in 0..255, to vectors (B, dim), not normalised.

    The backbone's features, of unit norm as `vse_exp.extract` stores them, go through `head`, which
    maps (B, dim_features) to (B, dim). While the backbone is frozen, no gradient is computed for it
    and it is in evaluation mode; so are its batch norms always where weights were loaded, since
    statistics of small batches would spoil them.
    """

    def __init__(
        self,
        dim_image: None,
        dim: int,
        *,
        head: Callable[[int, int], ImageEncoder] | None = None,
        backbone: str = SMALL_CNN,
        weights: str | None = None,
        transform: dict[str, Any] | None = None,
        unfreeze_epoch: Count | None = 0,
    ) -> None:
        super().__init__(dim_image, dim)
        trunk = build_trunk(backbone, "random", transform)
        self.head = (head or MLPImageEncoder)(trunk.dim, dim)
        self.backbone = trunk.module.to(memory_format=torch.channels_last)
        self.name, self.weights, self.transform = backbone, weights, transform
        self.preprocessing = trunk.preprocessing
        self.unfreeze_epoch = unfreeze_epoch
        self.keep_norms = _first_weights(backbone, weights) != "random"
        # parameters that learn later stay known to the optimiser from the start: without gradients
        # it passes them over
        self.backbone.requires_grad_(unfreeze_epoch is not None)
        self.frozen = unfreeze_epoch != 0

    @property
    def makes(self) -> dict[str, Any]:
        assert self.preprocessing is not None
        return {"backbone": self.name, "transform": self.preprocessing.to_dict(), "grid": None}

    @classmethod
    def complete(cls, keys: Mapping[str, Any], seed: int) -> dict[str, Any]:
        name = keys.get("backbone", SMALL_CNN)
        if name == SMALL_CNN and keys.get("unfreeze_epoch", 0) is None:
            raise UserError(
                f"{SMALL_CNN} starts at random and must learn: set "
                "model.image_encoder.unfreeze_epoch=0."
            )
        weights = _first_weights(name, keys.get("weights"))
        trunk = build_trunk(name, weights, keys.get("transform"), seed)
        _AT_START.clear()
        _AT_START[name, weights, seed] = trunk.module
        return {**keys, "transform": trunk.preprocessing.to_dict()}

    @classmethod
    def preprocessing_of(cls, keys: Mapping[str, Any]) -> Preprocessing | None:
        return Preprocessing.from_dict(keys["transform"])

    def start(self, images: Blocks, seed: int) -> None:
        first = _first_weights(self.name, self.weights)
        module = _AT_START.pop((self.name, first, seed), None)
        if module is None:
            module = build_trunk(self.name, first, self.transform, seed).module
        self.backbone.load_state_dict(module.state_dict())
        self.head.start(lambda: self.feature_blocks(images()), seed)

    def adopt(self, trained: Encoder) -> None:
        of_features = isinstance(trained, ImageEncoder) and trained.preprocessing is None
        if of_features:
            self.head.adopt(trained)
        else:
            super().adopt(trained)

    def set_epoch(self, epoch: int) -> None:
        """To be told before the updates of an epoch; once the optimiser knows the parameters."""
        self.frozen = self.unfreeze_epoch is None or epoch < self.unfreeze_epoch
        self.backbone.requires_grad_(not self.frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> BackboneImageEncoder:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        elif self.keep_norms:
            norms_in_eval(self.backbone)
        return self

    def features(self, pictures: Tensor) -> Tensor:
        """The backbone's features of unit norm, (B, dim_features)."""
        settings = self.preprocessing
        assert settings is not None
        pixels = normalize_pixels(pictures, settings.mean, settings.std, settings.bgr)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        if self.frozen:
            with torch.no_grad():
                return normalize(self.backbone(pixels), dim=-1)
        return normalize(self.backbone(pixels), dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    @torch.no_grad()
    def feature_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """The features of pictures that come in blocks, as evaluation has them."""
        device = next(self.parameters()).device
        was_training = self.training
        self.eval()
        for block in blocks:
            yield self.features(block.to(device)).cpu()
        self.train(was_training)


def norms_in_eval(module: nn.Module) -> None:
    """Batch norms use and keep the statistics that they were loaded with."""
    for part in module.modules():
        if isinstance(part, _BATCH_NORMS):
            part.eval()


def _first_weights(backbone: str, weights: str | None) -> str:
    """What the backbone's training starts from."""
    if weights is not None:
        return weights
    return "random" if backbone == SMALL_CNN else "pretrained"


def build_trunk(
    name: str, weights: str = "random", transform: Mapping[str, Any] | None = None, seed: int = 0
) -> Trunk:
    """The backbone `name`; with a whole `transform` the same network whatever the weights."""
    if name == SMALL_CNN:
        if weights != "random":
            raise UserError(f"{SMALL_CNN} has no weights={weights}: it starts at random.")
        plain = Preprocessing(resize=96, crop=96, mean=(127.5,) * 3, std=(64.0,) * 3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Trunk(SmallCNN(), plain.changed(transform or {}), SmallCNN.dim)
    from vse_exp.images.backbones import build_backbone  # loads torchvision

    backbone = build_backbone(name, weights, transform, seed)
    return Trunk(backbone.module, backbone.preprocessing, backbone.dim)
