"""`python -m vse_exp.extract`: pictures to image features."""

from __future__ import annotations

import signal
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import Interrupted, UserError


@hydra_entry("extract")
def main(cfg: DictConfig) -> None:
    from vse_exp.images.jobs import extract_from_config

    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    for key, least in (("batch_size", 1), ("max_pixels", 1), ("num_workers", 0)):
        if config[key] is not None and not (isinstance(config[key], int) and config[key] >= least):
            raise UserError(f"{key}={config[key]} must be a whole number of at least {least}.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        extract_from_config(config)
    except KeyboardInterrupt as interruption:
        message = "interrupted: the same command goes on from here"
        raise Interrupted(message) from interruption


if __name__ == "__main__":
    main()
