"""`python -m vse_exp.prepare`: raw annotations to captions and image lists."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError


@hydra_entry("prepare")
def main(cfg: DictConfig) -> None:
    from vse_exp.data.annotations.preparing import prepare_from_config

    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if not re.fullmatch(r"[\w-]+", str(cfg.name)):
        raise UserError(f"name={cfg.name} must be of letters, digits, - and _.")
    prepare_from_config(config).tell()


if __name__ == "__main__":
    main()
