"""An image encoder from pixels: a backbone, and the ordinary image encoder on its features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing, normalize_pixels
from vse_exp.models.config import ModelConfig
from vse_exp.models.image import ImageEncoder

SMALL_CNN = "small_cnn"
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Trunk(NamedTuple):
    """A backbone from normalised pixels (B, 3, crop, crop) to features (B, dim)."""

    module: nn.Module
    preprocessing: Preprocessing
    dim: int


class BackboneImageEncoder(nn.Module):
    """Pictures (B, 3, H, W), uint8 or float in 0..255, to vectors (B, dim), not normalised.

    The backbone's features, of unit norm as `vse_exp.extract` stores them, go through `head`, which
    maps (B, dim_features) to (B, dim). While the backbone is frozen, no gradient is computed for it
    and it is in evaluation mode; so are its batch norms always where weights were loaded, since
    statistics of small batches would spoil them.
    """

    head: ImageEncoder

    def __init__(
        self,
        backbone: nn.Module,
        head: ImageEncoder,
        preprocessing: Preprocessing,
        unfreeze_epoch: int | None = 0,
        keep_norms: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.head = head
        self.preprocessing = preprocessing
        self.unfreeze_epoch = unfreeze_epoch
        self.keep_norms = keep_norms
        # parameters that learn later stay known to the optimiser from the start: without gradients
        # it passes them over
        self.backbone.requires_grad_(unfreeze_epoch is not None)
        self.frozen = unfreeze_epoch != 0

    @classmethod
    def build(cls, config: ModelConfig, head: ImageEncoder) -> BackboneImageEncoder:
        """As `config` says, with random weights."""
        trunk = build_trunk(config.backbone, "random", config.backbone_transform)
        keep_norms = first_weights(config) != "random"
        return cls(trunk.module, head, trunk.preprocessing, config.unfreeze_epoch, keep_norms)

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
            for part in self.backbone.modules():
                if isinstance(part, _BATCH_NORMS):
                    part.eval()
        return self

    def features(self, pictures: Tensor) -> Tensor:
        """The backbone's features of unit norm, (B, dim_features)."""
        settings = self.preprocessing
        pixels = normalize_pixels(pictures, settings.mean, settings.std, settings.bgr)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        if self.frozen:
            with torch.no_grad():
                return normalize(self.backbone(pixels), dim=-1)
        return normalize(self.backbone(pixels), dim=-1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.features(pictures))

    def center_on(self, blocks: Iterable[Tensor]) -> None:
        """Tell the head the mean feature of all training pictures, as it is now."""
        self.head.center_on(self.feature_blocks(blocks))

    @torch.no_grad()
    def feature_blocks(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """The features of pictures that come in blocks, as evaluation has them."""
        device = next(self.parameters()).device
        was_training = self.training
        self.eval()
        for block in blocks:
            yield self.features(block.to(device)).cpu()
        self.train(was_training)


def first_weights(config: ModelConfig) -> str:
    """What the backbone's training starts from."""
    if config.backbone_weights is not None:
        return config.backbone_weights
    return "random" if config.backbone == SMALL_CNN else "pretrained"


def load_trunk(config: ModelConfig, seed: int = 0) -> tuple[ModelConfig, Trunk]:
    """The backbone with the weights that training starts from (random ones drawn by `seed`), and
    `config` with what follows from it. Raises UserError for what cannot be had."""
    trunk = build_trunk(config.backbone, first_weights(config), config.backbone_transform, seed)
    if config.backbone == SMALL_CNN and config.unfreeze_epoch is None:
        raise UserError(f"{SMALL_CNN} starts at random and must learn: set model.unfreeze_epoch=0.")
    transform = trunk.preprocessing.to_dict()
    return replace(config, backbone_transform=transform).resolve(trunk.dim), trunk


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


class SmallCNN(nn.Module):
    """Residual blocks down to an eighth of the sides, then of each channel the maximum and mean.

    The maximum says whether a thing is anywhere, so that each picture teaches about all places. The
    coordinates beside the last channels tell where things are ("on the left"). Group norms, unlike
    batch norms, make one process and several give the same gradients.
    """

    channels = 384
    dim = 2 * channels

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *_convolution(3, 24, stride=2), _Residual(24, 48, 2), _Residual(48, 96, 2),
            _Residual(96, 96),
        )  # fmt: skip
        self.last = nn.Sequential(*_convolution(96 + 2, self.channels, size=1))

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.stages(pixels)
        maps = self.last(torch.cat([found, _coordinates(found)], 1))
        pooled = torch.stack([maps.amax((2, 3)), maps.mean((2, 3))], 1)
        return layer_norm(pooled, [self.channels]).flatten(1)


class _Residual(nn.Module):
    """Two convolutions whose output, at first zero, is added to the input (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        convolution, norm, _ = _convolution(outputs, outputs)
        nn.init.zeros_(norm.weight)
        self.change = nn.Sequential(*_convolution(inputs, outputs, stride), convolution, norm)
        self.same: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            shrink = _convolution(inputs, outputs, size=1)[:2]
            self.same = nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), *shrink)

    def forward(self, maps: Tensor) -> Tensor:
        return (self.change(maps) + self.same(maps)).relu()


def _convolution(
    inputs: int, outputs: int, stride: int = 1, size: int = 3
) -> tuple[nn.Conv2d, nn.GroupNorm, nn.ReLU]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.GroupNorm(8, outputs), nn.ReLU(inplace=True)


def _coordinates(maps: Tensor) -> Tensor:
    """Two channels for maps (B, C, H, W): row and column of each place, from -1 to 1."""
    rows, columns = (torch.linspace(-1, 1, side).to(maps) for side in maps.shape[2:])
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(maps), -1, -1, -1)
