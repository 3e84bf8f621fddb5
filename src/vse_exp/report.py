"""`python -m vse_exp.report`: a static page of every result on a split; see conf/report.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Data, Device, Judging, Texts, judged
from vse_exp.errors import UserError
from vse_exp.schema import Count, Size, Text


class Report(Judging):
    data: Data
    run: Texts | None
    split: Text
    output: Text
    overwrite: bool
    k: Size
    reasons: Count
    map: Literal["pca", "umap"] | None
    pictures: Text | None
    device: Device


@verb("report", Report)
def main(cfg: DictConfig) -> None:
    config = plain(cfg)
    given = [config[key] for key in ("run", "checkpoint", "images")]
    if sum(one is not None for one in given) != 1:
        raise UserError(
            "Give checkpoint=FILE (or images=FILE captions=FILE, vectors) for results on a split, "
            "or run=FOLDER for curves."
        )
    if config["run"] is not None:
        from vse_exp.pages.curves import write_curves

        runs = [config["run"]] if isinstance(config["run"], str) else config["run"]
        print(f"Curves: {write_curves(config['output'], runs, config['overwrite'])}")
        return
    from vse_exp.pages.report import report_from_config

    result, source = report_from_config(config, judged(cfg))
    print(f"rsum {result.metrics['rsum']:.1f} ({source}, {result.protocol})")
    print(f"Report: {Path(cfg.output) / 'index.html'}")


if __name__ == "__main__":
    main()
