"""What both towers share: whose they are, what of them learns, from when on and how."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn

from vse_exp.errors import UserError
from vse_exp.models.backbone import norms_in_eval
from vse_exp.models.towers.adapters import ORIGINAL, add_adapters, is_adapter, merge_adapters
from vse_exp.models.towers.cutting import Side
from vse_exp.models.towers.library import Architecture, Library, find, library
from vse_exp.parts import Part
from vse_exp.similarity import Logit

Learn = Literal["all", "lora", "heads", "none"]


class Tower(nn.Module, Part):
    """One side of another library's dual encoder, with its projection head.

    `learn` says what is trained beside the head: `all`, adapters of low rank (`lora`: Hu et al.
    2022), nothing (`heads`), and not even the head (`none`). Before `unfreeze_epoch` the head
    alone learns; what does not learn yet runs without dropout, and batch norms always keep their
    statistics, as those of small batches would spoil them.

    A base for the sides' encoders: they call `add_tower` in their `__init__`.
    """

    side: Side
    logit: Logit | None = None

    def add_tower(
        self,
        dim: int,
        architecture: Architecture | None,
        learn: Learn,
        unfreeze_epoch: int,
        gradient_checkpointing: bool,
        lora_rank: int,
        lora_alpha: float,
        lora_dropout: float,
    ) -> None:
        if architecture is None:
            raise UserError(
                "The tower's architecture is missing: a checkpoint holds it, and a training reads "
                f"it from {key_of(self.side)}."
            )
        self.architecture = architecture
        own_dim = self.library.dim(architecture["config"])
        if own_dim != dim:
            raise UserError(
                f"model.dim={dim}, and the {self.side} tower gives vectors of {own_dim}: set "
                f"model.dim={own_dim}, or null."
            )
        self.tower = self.library.build(architecture["config"], self.side)
        self.learn, self.unfreeze_epoch = learn, unfreeze_epoch
        self._is_head = re.compile(self.library.heads(self.side)).match
        if learn == "heads" and not any(map(self._is_head, self.tower.state_dict())):
            raise UserError(
                f"The {self.side} tower has no projection head: set learn=all, lora or none."
            )
        if learn == "lora":
            add_adapters(self.tower, self._is_head, lora_rank, lora_alpha, lora_dropout)
        if gradient_checkpointing:
            self.library.checkpoint_gradients(self.tower)
        # what learns later stays known to the optimiser from the start: without gradients it
        # passes it over
        self._require_gradients(True)
        self.frozen = learn in ("heads", "none") or unfreeze_epoch > 0

    @property
    def tower_of(self) -> tuple[Architecture, nn.Module]:
        return self.architecture, self.tower

    @property
    def library(self) -> Library:
        return library(self.architecture)

    def _require_gradients(self, unfrozen: bool) -> None:
        for name, parameter in self.tower.named_parameters():
            head, adapter = self._is_head(name), is_adapter(name)
            inside = self.learn == "all" or (self.learn == "lora" and adapter)
            parameter.requires_grad_(self.learn != "none" and bool(head or (inside and unfrozen)))

    def load_tower(self, place: str) -> None:
        """The weights of the whole model at `place`, as far as they are this tower's."""
        state = self.library.read_weights(place)
        own = [name for name in self.tower.state_dict() if not is_adapter(name)]
        missing = [name for name in own if name.replace(ORIGINAL, "") not in state]
        if missing:
            raise UserError(f"{place} has no weights {missing[0]}: it is not complete.")
        self.tower.load_state_dict(
            {name: state[name.replace(ORIGINAL, "")] for name in own}, strict=False
        )
        if "logit_scale" in state:
            bias = float(state.get("logit_bias", torch.tensor(0.0)))
            self.logit = Logit(math.exp(float(state["logit_scale"])), bias)

    def set_epoch(self, epoch: int) -> None:
        """To be told before the updates of an epoch; once the optimiser knows the parameters."""
        if self.learn in ("all", "lora"):
            self.frozen = epoch < self.unfreeze_epoch
            self._require_gradients(not self.frozen)
            self.train(self.training)

    def train(self, mode: bool = True) -> Tower:
        super().train(mode)
        if self.frozen:
            self.tower.eval()
        norms_in_eval(self.tower)
        return self

    def merge(self) -> dict[str, Any]:
        """Make the adapters part of the weights that they stand beside."""
        if self.learn != "lora":
            return {}
        merge_adapters(self.tower)
        self.learn = "all"
        return {"learn": "all"}

    def compile_parts(self) -> None:
        self.tower.compile(dynamic=self.side == "text")


def key_of(side: Side) -> str:
    """The key that says which model a side is of."""
    return "model.encoder.model" if side == "text" else "model.image_encoder.model"


def found(keys: Mapping[str, Any], side: Side) -> tuple[Architecture, str]:
    """The architecture and place of the model that the keys name. UserError without one."""
    if keys.get("model") is None:
        raise UserError(
            f"A {side} tower needs {key_of(side)}: a folder or name of transformers, openclip:NAME "
            "or openclip:local-dir:FOLDER."
        )
    return find(keys["model"])
