"""`python -m vse_exp.sweep`: search hyperparameters with Optuna; see conf/sweep.yaml."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from vse_exp import train as _train  # noqa: F401  (registers the resolver of conf/train.yaml)
from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError


@hydra_entry("sweep")
def main(cfg: DictConfig) -> None:
    try:
        import optuna
    except ImportError as error:
        raise UserError("Searching needs optuna: pip install 'vse_exp[sweep]'.") from error
    from vse_exp.runs.search import open_study, run_study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space: Any = OmegaConf.to_container(cfg.space)
    folder = Path(cfg.runs_dir) / "sweeps" / cfg.study
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        run_study(
            open_study(cfg.study, cfg.storage, cfg.prune_after),
            space,
            cfg.n_trials,
            folder,
            lambda overrides: compose("train", [*cfg.train, *overrides]),
            cfg.seed,
        )


if __name__ == "__main__":
    main()
