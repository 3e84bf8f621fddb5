"""`python -m vse_exp.compare`: do two runs differ by more than chance? See conf/compare.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig
from pydantic import Field

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Checkpoints, Data, Device, ModelCommand, Vectors, of_vectors
from vse_exp.schema import Seed, Size, Text


class Compare(ModelCommand):
    data: Data
    a: Checkpoints | Vectors
    b: Checkpoints | Vectors
    split: Text
    resamples: Annotated[int, Field(ge=1, le=10_000_000)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed
    output: Text | None
    page: Text | None
    overwrite: bool
    k: Size
    pictures: Text | None
    device: Device


@verb("compare", Compare, positions=("a", "b"))
def main(cfg: DictConfig) -> None:
    from vse_exp.evaluation.rank_files import read_ranks, write_comparison
    from vse_exp.evaluation.statistics import compare_ranks
    from vse_exp.evaluation.tables import comparison_table, show
    from vse_exp.pages.comparison import open_side, write_page

    config = plain(cfg)
    given: dict[str, Any] = {name: config[name] for name in ("a", "b")}
    for name, which in given.items():
        given[name] = of_vectors(which, cfg) if isinstance(which, dict) else which
    keys = config["data"], cfg.split, cfg.device, cfg.trust, cfg.page
    sides = {name: open_side(which, *keys) for name, which in given.items()}
    ranks = {
        name: side.result.ranks if side else read_ranks(given[name], cfg.split)
        for name, side in sides.items()
    }
    options: dict[str, Any] = {
        "n_resamples": cfg.resamples, "confidence": cfg.confidence, "seed": cfg.seed
    }  # fmt: skip
    compared = compare_ranks(ranks["a"], ranks["b"], **options)
    notes = [f"{name}: {cfg[name]}  {one.protocol}" for name, one in ranks.items()]
    show([comparison_table(compared, cfg.confidence)], notes)
    if cfg.output is not None:
        sources = {
            name: {"ranks": str(cfg[name]), "protocol": one.protocol} for name, one in ranks.items()
        }
        write_comparison(cfg.output, compared, {"options": options} | sources)
    if sides["a"] and sides["b"] and cfg.page is not None:
        shown = {key: config[key] for key in ("pictures", "k", "overwrite")}
        source = f"{cfg.data.name} {cfg.split}"
        write_page(cfg.page, sides["a"], sides["b"], compared, source=source, **shown)
        print(f"Page: {Path(cfg.page) / 'index.html'}")


if __name__ == "__main__":
    main()
