"""`python -m vse_exp.photos`: from a folder of photos to a search box; see conf/photos.yaml."""

from __future__ import annotations

from omegaconf import DictConfig

from vse_exp.cli import plain, verb
from vse_exp.cli.steps import run_step, typed
from vse_exp.runs.photo_search import Photos


@verb("photos", Photos)
def main(cfg: DictConfig) -> None:
    asked = Photos.of(plain(cfg))
    asked.check()
    for step in asked.steps():
        run_step(*step)
    if cfg.demo:
        run_step(*asked.demo_step())
    else:
        print("Search it:", typed(*asked.query_step()), typed(*asked.demo_step()), sep="\n  ")


if __name__ == "__main__":
    main()
