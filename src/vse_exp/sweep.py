"""`python -m vse_exp.sweep`: search hyperparameters with Optuna; see conf/sweep.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf

from vse_exp import train as _train  # noqa: F401  (registers the resolver of conf/train.yaml)
from vse_exp.cli import composed, verb
from vse_exp.errors import UserError
from vse_exp.schema import Count, Keys, Seed, Size, Text, form
from vse_exp.training.keys import Train


class Sweep(Keys):
    space: dict[str, Any]
    study: Annotated[str, form(r"^[\w.@+-]+$", "of letters, digits and . @ + - _")]
    storage: Text
    n_trials: Size
    train: list[Text]
    runs_dir: Text
    seed: Seed
    prune_after: Count | None
    quiet: bool


@verb("sweep", Sweep)
def main(cfg: DictConfig) -> None:
    try:
        from vse_exp.runs.search import open_study, run_study
        from vse_exp.runs.space import Space
    except ModuleNotFoundError as error:
        raise UserError("Searching needs optuna: pip install 'vse_exp[sweep]'.") from error

    def train(*trial: Any) -> dict[str, Any]:
        # after the config, which says whether Lightning is needed whole
        from vse_exp.training.fit import train

        return train(*trial)

    chosen: Any = OmegaConf.to_container(cfg.space)
    space = Space(chosen, cfg.train)
    folder = Path(cfg.runs_dir) / "sweeps" / cfg.study
    folder.mkdir(parents=True, exist_ok=True)
    with open_study(cfg.study, cfg.storage, cfg.prune_after) as study:
        run_study(
            study,
            space,
            cfg.n_trials,
            folder,
            lambda overrides: composed("train", Train, overrides),
            train,
            cfg.seed,
        )


if __name__ == "__main__":
    main()
