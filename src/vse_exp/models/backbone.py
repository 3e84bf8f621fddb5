"""An image encoder from pixels: a backbone, and the ordinary image encoder on its features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vse_exp.data.loading import ImageRows
from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing, normalize_pixels

SMALL_CNN = "small_cnn"
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class BackboneConfig:
    """Which backbone, and when it learns. Plain values, fit for a checkpoint."""

    name: str = SMALL_CNN
    """`small_cnn`, trained from scratch, or a backbone of `python -m vse_exp.extract`."""
    weights: str = "random"
    """Where training starts: `pretrained`, `random`, or a file."""
    unfreeze_epoch: int | None = 0
    """Epoch (from 0) in whose beginning it starts to learn; None: never."""
    transform: Mapping[str, Any] | None = None
    """Keys of the preprocessing that differ from the weights' own; whole after `build`."""
    seed: int = 0


class BackboneImageEncoder(nn.Module):
    """Pictures (B, 3, H, W), uint8 or float in 0..255, to vectors (B, dim), not normalised.

    The backbone's features, of unit norm as `vse_exp.extract` stores them, go through `head`, which
    maps (B, dim_features) to (B, dim). While the backbone is frozen, no gradient is computed for it
    and it is in evaluation mode; so are its batch norms always where weights were loaded, since
    statistics of small batches would spoil them.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        preprocessing: Preprocessing,
        unfreeze_epoch: int | None = 0,
        keep_norms: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = head
        self.preprocessing = preprocessing
        self.unfreeze_epoch = unfreeze_epoch
        self.keep_norms = keep_norms
        # parameters that learn later stay known to the optimiser from the start: without gradients
        # it passes them over
        self.backbone.requires_grad_(unfreeze_epoch is not None)
        self.frozen = unfreeze_epoch != 0

    def set_epoch(self, epoch: int) -> None:
        """To be told at the beginning of each epoch."""
        self.frozen = self.unfreeze_epoch is None or epoch < self.unfreeze_epoch
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

    @torch.no_grad()
    def feature_blocks(self, pictures: ImageRows, batch_size: int = 64) -> Iterator[Tensor]:
        """Features of all pictures in blocks of rows, for the head's mean of a frozen backbone."""
        device = next(self.parameters()).device
        was_training = self.training
        self.eval()
        for start in range(0, len(pictures), batch_size):
            block = pictures.rows(slice(start, start + batch_size))
            yield self.features(block.to(device)).cpu()
        self.train(was_training)


def build_trunk(config: BackboneConfig) -> tuple[nn.Module, Preprocessing, int]:
    """The backbone, its preprocessing, and the size of its features.

    A config whose `transform` is whole and whose `weights` are `random` builds the same network
    for weights that a checkpoint brings. Raises UserError for what cannot be had.
    """
    if config.unfreeze_epoch is not None and config.unfreeze_epoch < 0:
        raise UserError(f"unfreeze_epoch={config.unfreeze_epoch} must be 0 or more, or null.")
    if config.name == SMALL_CNN:
        if config.weights != "random":
            raise UserError(f"{SMALL_CNN} has no weights={config.weights}: it starts at random.")
        if config.unfreeze_epoch is None:
            raise UserError(f"{SMALL_CNN} starts at random and must learn: set unfreeze_epoch=0.")
        plain = Preprocessing(resize=96, crop=96, mean=(127.5,) * 3, std=(64.0,) * 3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return SmallCNN(), plain.changed(config.transform or {}), SmallCNN.dim
    from vse_exp.images.backbones import build_backbone  # loads torchvision

    backbone = build_backbone(config.name, config.weights, config.transform, config.seed)
    return backbone.module, backbone.preprocessing, backbone.dim


class SmallCNN(nn.Module):
    """Four stages of two convolutions each, then a 3 x 3 grid of 256 channels, one after the other.

    The grid keeps where things are ("left of the house"). Group norms, unlike batch norms, make
    one process and several give the same gradients.
    """

    dim = 256 * 9

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        stages = [
            layer
            for inputs, outputs in pairwise(widths)
            for layer in (*_convolution(inputs, outputs, 2), *_convolution(outputs, outputs, 1))
        ]
        self.stages = nn.Sequential(*stages)
        self.grid = nn.AdaptiveAvgPool2d(3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.grid(self.stages(pixels)).flatten(1)


def _convolution(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.GroupNorm(8, outputs), nn.ReLU(inplace=True)
