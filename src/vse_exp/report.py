"""`python -m vse_exp.report`: a static page of every result on a split; see conf/report.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import verb
from vse_exp.cli.keys import Checkpoints, Data, Device, ModelCommand
from vse_exp.schema import Size, Text


class Report(ModelCommand):
    data: Data
    checkpoint: Checkpoints
    split: Text
    output: Text
    overwrite: bool
    k: Size
    pictures: Text | None
    device: Device


@verb("report", Report)
def main(cfg: DictConfig) -> None:
    from vse_exp.pages.report import report_from_config

    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    result = report_from_config(config)
    print(f"rsum {result.metrics['rsum']:.1f} ({cfg.data.name} {cfg.split}, {result.protocol})")
    print(f"Report: {Path(cfg.output) / 'index.html'}")


if __name__ == "__main__":
    main()
