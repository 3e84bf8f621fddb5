"""Image backbones by name, without classifiers, with the preprocessing that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from vse_exp.errors import UserError
from vse_exp.images.families import build_module
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.weights import weights_hash
from vse_exp.runtime import OnnxNetwork, Runtime


@dataclass
class Backbone:
    """A network from pictures to feature vectors, with its preprocessing.

    `module` maps normalised floats (B, 3, crop, crop) to (B, dim).
    """

    name: str
    module: nn.Module
    preprocessing: Preprocessing
    weights: str
    """Where the weights came from: `pretrained`, a set's name, `random`, or a file."""
    seed: int = 0
    """What random weights were drawn by."""
    grid: int | None = None
    """Regions a side, of the last feature map, which stand behind the whole; None: none."""
    runtime: Runtime = "torch"
    """What computes it; the rows are the same but for rounding."""

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights without the classifier's."""
        return weights_hash(self.module)

    @cached_property
    def dim(self) -> int:
        """Size of a feature vector."""
        device = next(self.module.parameters()).device
        side = self.preprocessing.crop
        pixels = torch.zeros(1, 3, side, side, device=device)
        with torch.inference_mode():
            return self.module(pixels).shape[-1]

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of what a view gives: (dim,), or with a grid (1 + grid**2, dim)."""
        return (self.dim,) if self.grid is None else (1 + self.grid**2, self.dim)

    @torch.inference_mode()
    def features(self, views: Tensor) -> Tensor:
        """Feature vectors float32 (B, views, *row_shape) of views uint8 (B, views, 3, crop, crop).

        The regions of a mirrored view are turned back, so that each stands for the same place.
        """
        device = next(self.module.parameters()).device
        rows = []
        for number in range(views.shape[1]):  # one after the other, to bound memory
            whole, *maps = self._network(views[:, number].to(device))
            if not maps:
                rows.append(whole.float())
                continue
            cells = maps[0].flip(-1) if self.preprocessing.mirrored(number) else maps[0]
            regions = adaptive_avg_pool2d(cells.float(), self.grid).flatten(2).transpose(1, 2)
            rows.append(torch.cat([whole.float()[:, None], regions], 1))
        return torch.stack(rows, dim=1)

    @cached_property
    def _network(self) -> Callable[[Tensor], Sequence[Tensor]]:
        """Pixels uint8 (B, 3, crop, crop) to features (B, dim), and with a grid the map."""
        network = _Network(self.module, self.preprocessing, self.grid is not None).eval()
        if self.runtime == "torch":
            return network
        example = torch.zeros(2, 3, *(self.preprocessing.crop,) * 2, dtype=torch.uint8)
        names = ("features", "map") if network.with_map else ("features",)
        sizes = {name: {0: "pictures"} for name in ("pixels", *names)}
        try:
            return OnnxNetwork(network, {"pixels": example}, names, sizes).one_by_one
        except UserError as error:
            raise UserError(f"backbone={self.name}: {error}") from error


class _Network(nn.Module):
    """A backbone behind the normalisation of its pixels, and if asked for with its last map."""

    def __init__(self, module: nn.Module, preprocessing: Preprocessing, with_map: bool) -> None:
        super().__init__()
        self.module, self.preprocessing, self.with_map = module, preprocessing, with_map

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        pixels = self.preprocessing.normalize(pixels)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return whole_and_map(self.module, pixels) if self.with_map else (self.module(pixels),)


def whole_and_map(module: nn.Module, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What a network gives, (B, dim), and the last feature map on its way there, (B, dim, H, W).

    UserError where there is none of that size.
    """
    last: list[Tensor] = []

    def look(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[2:]) > 1:
            last[:] = [output]

    leaves = [part for part in module.modules() if not any(True for _ in part.children())]
    hooks = [leaf.register_forward_hook(look) for leaf in leaves]
    try:
        whole = module(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    if not last or last[0].shape[1] != whole.shape[1]:
        raise UserError(
            f"grid needs a network that ends in a map of the {whole.shape[1]} features and its "
            "mean, such as resnet50 or efficientnet_lite2: choose one, or set grid=null."
        )
    return whole, last[0]


def build_backbone(
    name: str,
    weights: str = "pretrained",
    transform: Mapping[str, Any] | None = None,
    seed: int = 0,
    grid: int | None = None,
    runtime: Runtime = "torch",
) -> Backbone:
    """The backbone `name` (see `families`) in evaluation mode on the CPU.

    `weights`: `pretrained`, the name of one of torchvision's sets, `random` (drawn by `seed`), or
    a file: a state dict (`.pth`, `.safetensors`), or Lasagne's `vgg19.pkl`. `transform` changes
    keys of the preprocessing; `grid` and `runtime` are the backbone's. Raises UserError for what
    cannot be had.
    """
    weights = str(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, preprocessing = build_module(name, weights)
    module.eval().requires_grad_(False)
    module.to(memory_format=torch.channels_last)
    preprocessing = preprocessing.changed(transform or {})
    backbone = Backbone(name, module, preprocessing, weights, seed, grid, runtime)
    try:
        assert backbone.dim > 0  # runs it once: sizes that do not fit fail here
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"The backbone {name} does not take pictures of {preprocessing.crop} pixels "
            f"({(str(error).splitlines() or [''])[0]}): correct transform.size."
        ) from error
    return backbone
