"""Where the configs lie, and the config of a command before it runs and without it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vse_exp.errors import UserError
from vse_exp.parts import without_foreign_keys
from vse_exp.schema import Keys, checked, holds_keys


def config_dir() -> Path:
    """The folder of Hydra configs: inside an installed package, or beside `src/` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


def checked_config(
    schema: type[Keys], cfg: DictConfig, overrides: Sequence[str] = ()
) -> DictConfig:
    """The composed config with the types that `schema` says, and without what its recipe says of
    parts that `overrides` put others in the place of. UserError for the first wrong key."""
    try:
        values: Any = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException:  # of what is read from a group that is none any more
        for key, value in OmegaConf.to_container(cfg).items():  # type: ignore[union-attr]
            if not isinstance(value, dict) and holds_keys(schema.model_fields[str(key)].annotation):
                raise UserError(f"{key}={value} must be a mapping, {{key: value}}.") from None
        raise
    without_foreign_keys(values, overrides)
    typed = OmegaConf.create(checked(schema, values))
    OmegaConf.set_struct(typed, True)
    return typed


def plain(cfg: Any) -> dict[str, Any]:
    """A config as dictionaries and lists."""
    values: Any = OmegaConf.to_container(cfg, resolve=True)
    return values


@dataclass(frozen=True)
class Asked:
    """What a command line asks for: a config with overrides, a folder of one's own before ours."""

    config: str
    schema: type[Keys]
    overrides: Sequence[str] = ()
    own_folder: str | None = None

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config under other overrides. Raises what Hydra raises."""
        with self.loader():
            return compose(self.config, [*overrides, *self._searched])

    @contextmanager
    def loader(self) -> Iterator[ConfigLoaderImpl]:
        """Hydra's reader of configs, also while a command runs, which has one of its own."""
        with (
            mock.patch.object(GlobalHydra.instance(), "hydra", None),
            initialize_config_dir(str(config_dir()), version_base="1.3"),
        ):
            loader = GlobalHydra.instance().config_loader()
            assert isinstance(loader, ConfigLoaderImpl)
            yield loader

    @property
    def folders(self) -> list[Path]:
        """Where configs are looked for, the first found first."""
        own = [Path(os.path.abspath(self.own_folder))] if self.own_folder else []
        return [*own, config_dir()]

    def groups(self) -> dict[str, list[str]]:
        """The groups (some have a dot in their name), and what each has to choose from."""
        found: dict[str, set[str]] = {}
        for folder in self.folders:
            for path in [*folder.glob("*/*.yaml"), *folder.glob("*/*/*.yaml")]:
                group = path.parent.relative_to(folder).as_posix()
                if path.stem != "base":
                    found.setdefault(group, set()).add(path.stem)
        return {group: sorted(names) for group, names in sorted(found.items())}

    @property
    def _searched(self) -> list[str]:
        return [f"hydra.searchpath=['file://{self.folders[0]}']"] if self.own_folder else []
