"""`python -m vse_exp.train`: train a model; see conf/train.yaml."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import verb
from vse_exp.training.keys import Train


def _run_name() -> str:
    from vse_exp.runs.folder import run_name

    if not HydraConfig.initialized():
        return "train/composed"
    chosen = HydraConfig.get()
    experiment = chosen.runtime.choices.get("experiment") or "train"
    return f"{experiment}/{run_name(list(chosen.overrides.task))}"


def _run_group() -> str | None:
    """The sweep that was chosen, else the experiment."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return choices.get("sweep") or choices.get("experiment") or "train"


OmegaConf.register_new_resolver("run_name", _run_name, use_cache=False, replace=True)
OmegaConf.register_new_resolver("run_group", _run_group, use_cache=False, replace=True)


@verb("train", Train)
def main(cfg: DictConfig) -> float:
    from vse_exp.training.distributed import is_first_process
    from vse_exp.training.fit import train
    from vse_exp.training.multirun import run_job
    from vse_exp.training.terminal import tell_end

    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    results = run_job(cfg, lambda: train(cfg, overrides))
    if results is None:
        return float("nan")
    # of several processes the first alone tells, and of several jobs their table
    if is_first_process() and hydra.mode == RunMode.RUN:
        tell_end(results, cfg.paths.run_dir, hydra.runtime.choices["data"], overrides)
    return results["dev"]["rsum"]


if __name__ == "__main__":
    main()
