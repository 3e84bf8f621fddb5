"""What `--help` says: the config files of a command, with the comment of each key."""

from __future__ import annotations

import re
from pathlib import Path

from hydra.types import RunMode

from vse_exp.cli.composing import Asked, config_dir

OPTIONS = """\
Options:
  --multirun, -m       a job for each of several values: seed=1,2,3
  --cfg job            print the config as it stands, and run nothing
  --config-dir DIR     configs of your own, found before those of the program
  --version, --help, --hydra-help, -sc install=bash"""


def help_text(asked: Asked) -> str:
    """Usage, groups with their choices, and all keys; of the choices that the overrides make."""
    files = _files(asked)
    primary, *others = files
    usage, keys = _usage_and_keys(primary[0].read_text(encoding="utf-8"))
    groups = asked.groups()
    used = [
        group for group in groups if re.search(rf"^  - /?{group}: ", _defaults(primary[0]), re.M)
    ]
    parts = [usage, OPTIONS]
    if used:
        width = max(map(len, used))
        rows = [f"  {group:<{width}}  {' | '.join(groups[group])}" for group in used]
        parts.append("\n".join(["Groups, and what there is to choose:", *rows]))
    parts.append(f"Keys ({primary[0]}):\n{_indented(keys)}")
    for path, package in others:
        _, keys = _usage_and_keys(path.read_text(encoding="utf-8"))
        if keys:
            where = f"Keys {package}.… ({path}):" if package else f"Keys ({path}):"
            parts.append(f"{where}\n{_indented(keys)}")
    parts.append(f"All configs lie in {config_dir()}.")
    return "\n\n".join(parts)


def _files(asked: Asked) -> list[tuple[Path, str]]:
    """The files that the config is made of, the command's own first, each with its package."""
    with asked.loader() as loader:
        overrides = [*asked.overrides]
        defaults = loader.compute_defaults_list(asked.config, overrides, RunMode.MULTIRUN).defaults
    found: list[tuple[Path, str]] = []
    for one in defaults:
        for folder in asked.folders:
            path = folder / f"{one.config_path}.yaml"
            if path.is_file() and (path, one.package or "") not in found:
                found.append((path, one.package or ""))
                break
    return sorted(found, key=lambda one: one[0].stem != asked.config)


def _defaults(path: Path) -> str:
    found = re.search(r"^defaults:\n((?:  .*\n)+)", path.read_text(encoding="utf-8"), re.M)
    return found[1] if found else ""


def _usage_and_keys(text: str) -> tuple[str, str]:
    """The comment at the head of a config, and its keys without `defaults` and `hydra`."""
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    usage = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:count])
    body = "\n".join(lines[count:]) + "\n"
    keys = re.sub(r"^(defaults|hydra):.*\n((  .*)?\n)*", "", body, flags=re.M)
    return usage, keys.strip("\n")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
