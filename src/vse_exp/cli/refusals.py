"""What Hydra refuses, in one sentence that names the nearest key or choice."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig

from vse_exp.cli.composing import Asked, checked_config
from vse_exp.errors import UserError
from vse_exp.moved import listed, unknown_key
from vse_exp.schema import Keys

_NO_KEY = re.compile(r"Could not override '([^']+)'")
_THERE = re.compile(r"Could not append to config. An item is already at '([^']*)'")
_SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '([^']*)'")


def composed(config: str, schema: type[Keys], overrides: Sequence[str]) -> DictConfig:
    """The config under `overrides`, inside a command. UserError for whatever is wrong with them."""
    try:
        return checked_config(schema, compose(config, list(overrides)), overrides)
    except HydraException as error:
        raise explained(error, Asked(config, schema, overrides)) from error


def explained(error: HydraException, asked: Asked) -> UserError:
    """The mistake behind an exception that Hydra raised over the command line."""
    message = _in_one_line(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, message)
    if isinstance(error, MissingConfigException):
        return _no_config(error, asked)
    if found := _NO_KEY.search(message):
        return _no_key(found[1], asked)
    if found := _SEVERAL.match(message):
        key, _, value = found[1].partition("=")
        return UserError(
            f"{found[1]} gives several values: say -m to run a job with each, or {key}=[{value}] "
            "for a list."
        )
    if found := _THERE.match(message):
        return UserError(f"{found[1]} is in the config already: leave out the +.")
    causes = [error.__cause__] if error.__cause__ is not None else []
    return UserError(": ".join(filter(None, [message, *map(_in_one_line, causes)])))


def _unreadable(override: str, message: str) -> UserError:
    """Of Hydra's grammar."""
    key, equals, value = override.partition("=")
    if not equals:
        return UserError(f"{override!r} is no key=value.")
    if re.fullmatch(r"[\w.@/+~-]+", key) and value and value[0] not in "[{'\"":
        return UserError(
            f"{override} cannot be read: a value with = , : ( [ {{ or quotes in it needs quotes "
            f"of its own, '{key}=\"{value}\"'."
        )
    if re.fullmatch(r"\[[^][{}'\"]*=[^][{}'\"]*\]", value):  # overrides of another command
        each = ",".join(f'"{one.strip()}"' for one in value[1:-1].split(","))
        return UserError(f"{override} cannot be read: quote what holds a =, '{key}=[{each}]'.")
    reason = re.sub(r"\s*See https?://\S+.*", "", message)
    return UserError(f"{override} cannot be read: {reason}.")


def _no_config(error: MissingConfigException, asked: Asked) -> UserError:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    choices = asked.groups().get(group) or list(error.options or [])
    if not group or not choices:
        first = _in_one_line(error).partition(" Config search path:")[0]
        return UserError(first if error.missing_cfg_file else _in_one_line(error))
    close = difflib.get_close_matches(choice, choices, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return UserError(f"Unknown {group}={choice}: {hint}There are {listed(choices)}.")


def _no_key(key: str, asked: Asked) -> UserError:
    """Of a key that is not in the config: what the schema says once it is put there."""
    if key.startswith(("hydra.", "hydra/")):
        return _no_key_of_hydra(key, asked)
    overrides = _one_job(asked.overrides)
    added = key
    for _ in overrides:
        overrides = [f"++{one}" if one.partition("=")[0] == added else one for one in overrides]
        try:
            cfg = asked.compose(overrides)
        except HydraException as error:
            found = _NO_KEY.search(str(error))
            if found is None or found[1] == added:
                break
            added = found[1]
            continue
        if re.fullmatch(r"\w+", key):  # it may be meant for a group that leaves no key
            known = [*asked.schema.model_fields, *asked.groups()]
            return unknown_key(key, known, values={str(one): cfg[one] for one in cfg})
        try:
            checked_config(asked.schema, cfg, asked.overrides)
        except UserError as error:
            return error
        return UserError(f"{key} is not in the config: say +{key}=… to add it.")
    return unknown_key(key, [*asked.schema.model_fields, *asked.groups()])


def _no_key_of_hydra(key: str, asked: Asked) -> UserError:
    with asked.loader() as loader:
        groups = [f"hydra/{name}" for name in loader.list_groups("hydra")]
    close = difflib.get_close_matches(key, groups, n=1)
    hint = f"did you mean {close[0]}?" if close else "--cfg hydra tells those that there are."
    return UserError(f"Unknown key {key}: {hint}")


def _one_job(overrides: Sequence[str]) -> list[str]:
    """Overrides with the first value of each that a multirun would go through."""
    first: list[str] = []
    for one in OverridesParser.create().parse_overrides(list(overrides)):
        line = one.input_line or ""
        if one.is_sweep_override():
            line = f"{line.partition('=')[0]}={next(iter(one.sweep_string_iterator()))}"
        first.append(line)
    return first


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
