"""Which parameters an optimiser updates, and how each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from vse_exp.errors import UserError
from vse_exp.optimizers.lazy_adam import LazyAdam


def build_optimizer(
    module: nn.Module,
    factory: Callable[[list[dict[str, Any]]], Optimizer],
    lr_scales: Mapping[str, float] | None = None,
    decay_weights_only: bool = False,
) -> Optimizer:
    """The optimiser over all trained parameters of `module`, those of the loss among them.

    `lr_scales` maps names of parts (`sentence_encoder.backbone`) to what the learning rate is
    multiplied by there; the longest name that fits counts. With `decay_weights_only`, weight decay
    leaves alone biases, gains, embedding tables and single numbers such as a temperature.
    """
    scales = dict(lr_scales or {})
    undecayed = set(_undecayed(module)) if decay_weights_only else set()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    unused = set(scales)
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        fitting = [part for part in scales if f".{part}." in f".{name}."]
        unused.difference_update(fitting)
        scale = scales[max(fitting, key=len)] if fitting else 1.0
        groups.setdefault((scale, parameter in undecayed), []).append(parameter)
    if unused:
        parts = ", ".join(sorted({name for name, _ in module.named_modules() if name})[:20])
        raise UserError(
            f"lr_scales names {', '.join(sorted(unused))}, where nothing is trained: name a part "
            f"of the model, such as {parts}."
        )
    optimizer = factory(
        [
            {"params": parameters} | ({"weight_decay": 0.0} if exempt else {})
            for (_, exempt), parameters in groups.items()
        ]
    )
    for (scale, _), group in zip(groups, optimizer.param_groups, strict=True):
        group["lr"] *= scale
    if isinstance(optimizer, LazyAdam):
        for part in module.modules():
            if isinstance(part, nn.Embedding | nn.EmbeddingBag):
                part.sparse = True  # gradients of the rows that occur, which it is made for
    return optimizer


def _undecayed(module: nn.Module) -> Iterable[nn.Parameter]:
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            if parameter.ndim < 2 or isinstance(part, nn.Embedding | nn.EmbeddingBag):
                yield parameter
