"""A small convolutional network to learn from scratch, on pictures of 64 to 128 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm


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
    rows, columns = (
        torch.linspace(-1, 1, side, dtype=maps.dtype, device=maps.device) for side in maps.shape[2:]
    )
    both = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return both.expand(maps.shape[0], -1, -1, -1)
