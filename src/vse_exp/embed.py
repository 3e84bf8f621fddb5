"""`python -m vse_exp.embed`: vectors of sentences or image features; see conf/embed.yaml."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError


@hydra_entry("embed")
def main(cfg: DictConfig) -> None:
    from vse_exp.evaluation.embed import embed_files
    from vse_exp.models.checkpoint import load_model

    if not cfg.output.endswith(".npy"):
        raise UserError(f"output={cfg.output} does not end in .npy: vectors are written as such.")
    if cfg.block < 1 or cfg.batch_size < 1:
        raise UserError("block and batch_size must be at least 1.")
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    count = embed_files(load_model(cfg.checkpoint, cfg.device), config)
    print(f"{cfg.output}: {count:,} vectors")


if __name__ == "__main__":
    main()
