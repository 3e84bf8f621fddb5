"""Adapters of low rank in a tower's blocks (Hu et al. 2022), by the library peft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from vse_exp.errors import UserError

ORIGINAL = ".base_layer"
"""In the name of a weight that an adapter stands beside."""


def is_adapter(name: str) -> bool:
    return ".lora_" in name


def add_adapters(
    tower: nn.Module, is_head: Callable[[str], Any], rank: int, alpha: float, dropout: float
) -> None:
    """One beside every linear map and attention but the head's, at first without effect."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError(
            "learn=lora needs the extra `lora`: pip install 'vse_exp[lora]'."
        ) from error
    targets: list[str] = []
    for name, part in tower.named_modules():
        inside_attention = any(name.startswith(f"{target}.") for target in targets)
        # an attention of torch's does not call its output's map: peft adapts both together
        fits = isinstance(part, nn.Linear | nn.MultiheadAttention)
        if fits and not inside_attention and not is_head(f"{name}.weight"):
            targets.append(name)
    if not targets:
        raise UserError(
            "learn=lora is for transformers, and the tower is a network of convolutions."
        )
    config = LoraConfig(
        r=rank, lora_alpha=cast(int, alpha), lora_dropout=dropout, target_modules=targets
    )
    inject_adapter_in_model(config, tower)


def merge_adapters(tower: nn.Module) -> None:
    """The weights with what the adapters add, and no adapters."""
    done: list[str] = []
    for name, part in list(tower.named_modules()):
        if not hasattr(part, "base_layer") or any(name.startswith(f"{one}.") for one in done):
            continue
        done.append(name)
        layer = cast(Any, part)
        if isinstance(layer.base_layer, nn.MultiheadAttention):
            merged = layer.unload_and_optionally_merge_module(True, True, None)
        else:
            layer.merge(safe_merge=True)
            merged = layer.base_layer
        tower.set_submodule(name, merged)
