"""`python -m vse_exp.evaluate`: recalls and ranks of a model; see conf/evaluate.yaml."""

from __future__ import annotations

from typing import Annotated

from omegaconf import DictConfig

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Data, Device, Judging, Precision, judged
from vse_exp.evaluation.keys import Asked
from vse_exp.schema import Text, form


class Evaluate(Asked, Judging):
    data: Data
    split: Text
    output: Annotated[str, form(r"\.(json|csv)$", "a file that ends in .json or .csv")] | None
    ranks: Text | None
    device: Device
    precision: Precision


@verb("evaluate", Evaluate)
def main(cfg: DictConfig) -> None:
    from vse_exp.evaluation.assessment import assess, write_figures
    from vse_exp.evaluation.evaluator import open_judged
    from vse_exp.evaluation.rank_files import write_ranks
    from vse_exp.evaluation.tables import show

    config = plain(cfg)
    asked, data = Evaluate.of(config), config["data"]
    asked.check()
    opened = open_judged(judged(cfg), data, cfg.split, cfg.device, cfg.trust)
    opened.model.embed_in(cfg.precision)
    found = assess(asked, opened, data, cfg.split)
    show(found.tables, found.notes)
    if cfg.output is not None:
        model = str(cfg.checkpoint or cfg.images)
        told = {"checkpoint": model, "data": opened.data, "split": cfg.split}
        write_figures(cfg.output, found.figures | told)
    if cfg.ranks is not None:
        write_ranks(cfg.ranks, found.result, found.protocol)


if __name__ == "__main__":
    main()
