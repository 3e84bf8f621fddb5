"""`python -m vse_exp.train`: train a model; see conf/train.yaml."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import plain, verb
from vse_exp.parts import packages_of
from vse_exp.training.keys import Train

log = logging.getLogger("vse_exp.train")  # not __main__, under which this may run


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


def _run_job(cfg: DictConfig, job: Callable[[], object]) -> object:
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return job()
    from vse_exp.training.multirun import run_job

    return run_job(cfg, job)


@verb("train", Train, around=_run_job)
def main(cfg: DictConfig) -> float:
    from vse_exp.training.distributed import is_first_process
    from vse_exp.training.fit import train
    from vse_exp.training.terminal import tell_end

    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    results = train(cfg, overrides)
    if hydra.mode == RunMode.MULTIRUN:  # whose table tells the rest
        log.info("dev rsum %.1f, test %.1f", results["dev"]["rsum"], results["test"]["rsum"])
    elif is_first_process():
        of_model = [plain(cfg.model), plain(cfg.data.vocabulary)]
        chosen = hydra.runtime.choices["data"]
        tell_end(results, cfg.paths.run_dir, chosen, overrides, packages_of(of_model))
    return results["dev"]["rsum"]


if __name__ == "__main__":
    main()
