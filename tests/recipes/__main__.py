"""Write the flat copies of all recipes anew: python tests/recipes."""

from __future__ import annotations

import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

import vse_exp.train  # noqa: F401  (registers what its config interpolates)
from vse_exp.cli import config_dir

WHERE_AND_HOW = ("paths", "logger", "progress", "quiet", "resume", "disp_freq", "seed")
"""Keys that make no recipe."""


def recipe(experiment: str | None) -> DictConfig:
    """The composed config of an experiment on Flickr8k; None: of the command without one."""
    overrides = ["data=f8k", "paths.run_dir=x"]
    if experiment is not None:
        overrides.append(f"experiment={experiment}")
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", overrides)
    cfg = OmegaConf.create({key: cfg._get_node(key) for key in cfg if key not in WHERE_AND_HOW})
    del cfg.data["root"]
    return cfg


if __name__ == "__main__":
    folder = Path(__file__).parent
    for path in sorted((config_dir() / "experiment").glob("*.yaml")):
        text = OmegaConf.to_yaml(recipe(path.stem))
        (folder / path.name).write_text(f"# experiment={path.stem}, composed\n{text}")
        print(path.name, file=sys.stderr)
