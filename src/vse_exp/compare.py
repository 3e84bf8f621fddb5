"""`python -m vse_exp.compare`: do two runs differ by more than chance? See conf/compare.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from vse_exp.cli import verb
from vse_exp.cli.keys import Checkpoints, Data, Device, ModelCommand, Vectors, of_vectors
from vse_exp.errors import UserError
from vse_exp.files import write_json
from vse_exp.schema import Seed, Size, Text

if TYPE_CHECKING:
    from rich.table import Table

    from vse_exp.evaluation.answers import Ranks
    from vse_exp.evaluation.statistics import Comparison
    from vse_exp.pages.comparison import Side


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
    from dataclasses import asdict

    from rich.console import Console

    from vse_exp.evaluation.metrics import EVERY, STANDARD
    from vse_exp.evaluation.rank_files import read_ranks
    from vse_exp.evaluation.statistics import bootstrap_intervals, compare_ranks

    sides = {name: _side(cfg, name) for name in ("a", "b")}
    ranks: dict[str, Ranks] = {
        name: read_ranks(cfg[name], cfg.split) if side is None else side.result.ranks
        for name, side in sides.items()
    }
    options = {
        "n_resamples": cfg.resamples,
        "confidence": cfg.confidence,
        "seed": cfg.seed,
    }
    # files of `evaluate metrics=all` hold the ranks of all right answers
    metrics = EVERY if all(one.annotation.every for one in ranks.values()) else STANDARD
    compared = compare_ranks(ranks["a"], ranks["b"], **options, metrics=metrics)
    intervals = {
        name: bootstrap_intervals(ranks[name], **options, metrics=metrics) for name in ranks
    }
    console = Console()
    console.print(comparison_table(compared, intervals, cfg.confidence))
    for name, one in ranks.items():
        console.print(f"{name}: {cfg[name]}  {one.protocol}", style="dim", highlight=False)
    if cfg.output is not None:
        result = {
            name: asdict(one)
            | {"difference": one.difference}
            | {f"{side}_interval": intervals[side][name] for side in intervals}
            for name, one in compared.items()
        }
        write_json(cfg.output, {"figures": result, "options": options} | {
            name: {"ranks": str(cfg[name]), "protocol": one.protocol}
            for name, one in ranks.items()
        })  # fmt: skip
    if sides["a"] is not None and sides["b"] is not None and cfg.page is not None:
        from vse_exp.pages.comparison import write_comparison

        write_comparison(
            cfg.page,
            sides["a"],
            sides["b"],
            compared,
            source=f"{cfg.data.name} {cfg.split}",
            pictures=cfg.pictures,
            k=cfg.k,
            overwrite=cfg.overwrite,
        )
        print(f"Page: {Path(cfg.page) / 'index.html'}")


def _side(cfg: DictConfig, name: str) -> Side | None:
    """The model that a or b names, on the split; None where that is ranks, which are enough without
    a page."""
    from vse_exp.pages.comparison import Side

    data: Any = OmegaConf.to_container(cfg.data, resolve=True)
    if isinstance(cfg[name], DictConfig):
        return Side.of(of_vectors(cfg[name], cfg), data, cfg.split, cfg.device, cfg.trust)
    given: Any = cfg[name] if isinstance(cfg[name], str) else list(cfg[name])
    path = Path(given if isinstance(given, str) else given[0])
    if path.is_dir() and cfg.page is not None:
        given = str(path / "checkpoints" / "best.ckpt")
    elif path.is_dir() or path.suffix == ".npz":
        if cfg.page is not None:
            raise UserError(
                f"page={cfg.page} shows what the models find: give checkpoints or run folders, not "
                f"{name}={given}."
            )
        return None
    return Side.of(given, data, cfg.split, cfg.device, cfg.trust)


def comparison_table(
    compared: Mapping[str, Comparison],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]],
    confidence: float,
) -> Table:
    """A line a figure: both runs and their difference, each with its interval, and p."""
    from rich.table import Table

    caption = f"brackets: {confidence:.0%} bootstrap intervals over images"
    table = Table(caption=caption, box=None, pad_edge=False)
    for heading in ("", "a", "b", "b - a", "p"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in compared.items():
        digits = 0 if name.endswith("Medr") else 1
        sides = (
            _with_interval(value, intervals[side][name], digits)
            for side, value in (("a", one.a), ("b", one.b))
        )
        difference = _with_interval(one.difference, (one.low, one.high), digits, sign="+")
        table.add_row(name, *sides, difference, f"{one.p:.4f}")
    return table


def _with_interval(value: float, interval: tuple[float, float], digits: int, sign: str = "") -> str:
    low, high = interval
    # a backslash keeps rich from reading the bracket as markup
    return f"{value:{sign}.{digits}f} \\[{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


if __name__ == "__main__":
    main()
