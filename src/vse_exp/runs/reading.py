"""Files of run folders, read as what nobody need trust."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from vse_exp.errors import UserError

LARGEST_FILE = 10_000_000
"""Bytes of a run folder's config or results; what is larger no run has written."""
DEEPEST = 100
"""Brackets within brackets of a YAML file."""


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a small `.json` or `.yaml` file of a run folder holds.

    UserError, naming the file, where it cannot be read, is too large or holds anything else.
    """
    return _mapping(path, parse(path, json.loads if path.suffix == ".json" else _load_yaml))


def mapping_of(text: str, where: str) -> dict[str, Any]:
    """The mapping that a text in YAML is, as `read_mapping`."""
    return _mapping(where, _understood(where, text, _load_yaml))


def parse(path: Path, read: Callable[[str], Any]) -> Any:
    """What `read` makes of the text of a small file. UserError as `read_mapping`."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LARGEST_FILE + 1)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is broken ({error}).") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    return _understood(path, text, read)


def _understood(where: Any, text: str, read: Callable[[str], Any]) -> Any:
    try:
        if len(text) > LARGEST_FILE:
            raise ValueError("it is too large")
        return read(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{where} is broken ({reason}).") from error


def _mapping(where: Any, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{where} is broken: it holds no mapping.")
    return content


def _load_yaml(text: str) -> Any:
    depth = 0
    for token in yaml.scan(text):
        # no run writes aliases, by which a few lines can stand for gigabytes
        if isinstance(token, yaml.AliasToken):
            raise ValueError("it has YAML aliases")
        # the time of scanning grows with the square of the depth
        depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
        depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
    return yaml.safe_load(text)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
