"""Image backbones by name, without classifiers, with the preprocessing that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.images.families import build_module
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.weights import weights_hash


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

    @torch.inference_mode()
    def features(self, views: Tensor) -> Tensor:
        """Feature vectors float32 (B, views, dim) of views uint8 (B, views, 3, crop, crop)."""
        device = next(self.module.parameters()).device
        rows = []
        for number in range(views.shape[1]):  # one after the other, to bound memory
            pixels = self.preprocessing.normalize(views[:, number].to(device))
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            rows.append(self.module(pixels).float())
        return torch.stack(rows, dim=1)


def build_backbone(
    name: str,
    weights: str = "pretrained",
    transform: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Backbone:
    """The backbone `name` (see `families`) in evaluation mode on the CPU.

    `weights`: `pretrained`, the name of one of torchvision's sets, `random` (drawn by `seed`), or
    a file: a state dict (`.pth`, `.safetensors`), or Lasagne's `vgg19.pkl`. `transform` changes
    keys of the preprocessing. Raises UserError for what cannot be had.
    """
    weights = str(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, preprocessing = build_module(name, weights)
    module.eval().requires_grad_(False)
    module.to(memory_format=torch.channels_last)
    preprocessing = preprocessing.changed(transform or {})
    backbone = Backbone(name, module, preprocessing, weights, seed)
    try:
        assert backbone.dim > 0  # runs it once: sizes that do not fit fail here
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"The backbone {name} does not take pictures of {preprocessing.crop} pixels "
            f"({(str(error).splitlines() or [''])[0]}): correct transform.size."
        ) from error
    return backbone
