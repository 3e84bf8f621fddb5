"""What a study of trainings draws: choices and ranges by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from vse_exp.errors import UserError

DIGITS = 4
_NUMBERS = {"low": int | float, "high": int | float, "step": int | float, "log": bool}


class Space:
    """What a study draws: `{choices: […]}` or `{low, high[, log][, step]}` a key, and single
    values, which hold for every trial unless the command says otherwise.

    UserError for any other specification, and for a key that the command sets as well.
    """

    def __init__(self, space: Mapping[str, Any], train: Sequence[str]) -> None:
        asked = {one.lstrip("+~").partition("=")[0] for one in train}
        self.drawn = {key: spec for key, spec in space.items() if isinstance(spec, Mapping)}
        self.train = [
            f"{key}={value}"
            for key, value in space.items()
            if key not in self.drawn and key not in asked
        ] + list(train)
        for key, spec in self.drawn.items():
            if key in asked:
                raise UserError(f"{key} is in the space and in train: take it out of one.")
            numbers = {"low", "high"} <= set(spec) <= set(_NUMBERS) and all(
                isinstance(value, _NUMBERS[name]) for name, value in spec.items()
            )
            if set(spec) != {"choices"} and not numbers:
                raise UserError(
                    f"space.{key}: write {{choices: […]}} or {{low: …, high: …[, log: true]}}."
                )

    def suggest(self, trial: optuna.trial.BaseTrial) -> list[str]:
        """The overrides of a trial; numbers have four digits, which a person can repeat."""
        return [f"{key}={_suggest(trial, key, spec)}" for key, spec in self.drawn.items()]

    @property
    def first(self) -> optuna.trial.FixedTrial:
        """The values at the beginning of each range, to compose a config with."""
        specs = self.drawn.items()
        return optuna.trial.FixedTrial(
            {key: spec["choices"][0] if "choices" in spec else spec["low"] for key, spec in specs}
        )


def _suggest(trial: optuna.trial.BaseTrial, key: str, spec: Mapping[str, Any]) -> Any:
    if "choices" in spec:
        return trial.suggest_categorical(key, list(spec["choices"]))
    low, high = spec["low"], spec["high"]
    options: dict[str, Any] = {name: spec[name] for name in ("log", "step") if name in spec}
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, **options)
    value = trial.suggest_float(key, float(low), float(high), **options)
    return min(max(float(f"{value:.{DIGITS}g}"), float(low)), float(high))
