"""From which checkpoint a training goes on, and whether it can."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from vse_exp.errors import UserError
from vse_exp.models.checkpoint import KEY, describe, read_checkpoint
from vse_exp.runs.folder import RunFolder
from vse_exp.runs.reading import flatten
from vse_exp.training.module import RetrievalModule

ANEW = "resume=never trains this run anew."
NEEDED = {"global_step", "state_dict", "optimizer_states", "lr_schedulers", "loops"}


def resume_path(cfg: DictConfig, folder: RunFolder) -> str | None:
    """The checkpoint to go on from: none, this run's last one, or the one that was named."""
    if cfg.resume == "never":
        return None
    if cfg.resume == "auto":
        return str(folder.last) if folder.last.is_file() else None
    if not Path(cfg.resume).is_file():
        raise UserError(
            f"No checkpoint {cfg.resume} to resume from: resume is auto, never, or a last.ckpt."
        )
    return str(cfg.resume)


def update_of(checkpoint: str, module: RetrievalModule) -> int:
    """At which update a checkpoint stands. UserError where `module` cannot go on from it."""
    try:
        content = read_checkpoint(checkpoint)
    except UserError as error:
        raise UserError(f"{error} {ANEW}") from error
    if lacking := sorted(NEEDED - content.keys()):
        raise UserError(
            f"{checkpoint} has no {', '.join(lacking)}, so that no training can go on from it: "
            f"give a last.ckpt. {ANEW}"
        )
    if different := _different(content, module):
        more = " …" if len(different) > 3 else ""
        raise UserError(
            f"{checkpoint} was trained with {', '.join(different[:3])}{more}: give the command "
            "the same, or resume=never to train anew."
        )
    return int(content["global_step"])


def _different(content: dict[str, Any], module: RetrievalModule) -> list[str]:
    """What keeps the weights, or the optimiser's state, of a file out of `module`: the keys that
    differ, else the weights by name and shape. Nothing where they fit, whatever the keys."""
    then, now = _shapes(content["state_dict"]), _shapes(module.state_dict())
    if then != now:
        keys = [
            flatten(about.get("model", {}), "model.") | {"ema": _averaged(names)}
            for about, names in ((content[KEY], then), (describe(module.model), now))
        ]
        return _compare(*keys) or _compare(then, now)
    before = content["optimizer_states"][0]["param_groups"]
    groups = module.optimizer_factory(module).param_groups
    if lacking := _numbers(groups) - before[0].keys():
        return [f"an optimizer that has no {', '.join(sorted(lacking))}"]
    return _compare({"weights that learn": _sizes(before)}, {"weights that learn": _sizes(groups)})


def _shapes(state: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _averaged(names: Iterable[str]) -> str:
    return "a number" if any(name.startswith("averaged.") for name in names) else "null"


def _numbers(groups: list[dict[str, Any]]) -> set[str]:
    """The keys of an optimiser that hold numbers; its switches differ by torch's version."""
    numbers = (float, int, tuple)
    return {k for k, v in groups[0].items() if isinstance(v, numbers) and not isinstance(v, bool)}


def _sizes(groups: list[dict[str, Any]]) -> str:
    return " + ".join(str(len(group["params"])) for group in groups)


def _compare(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """How `now` differs from `then`; what only one of them has is None in the other."""
    return [
        f"{key}={then.get(key)} (now {now.get(key)})"
        for key in then | now
        if then.get(key) != now.get(key)
    ]
