"""`python -m vse_exp.evaluate`: recalls and ranks of a model; see conf/evaluate.yaml."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError
from vse_exp.files import write_json, write_text

if TYPE_CHECKING:
    import numpy as np

    from vse_exp.data.layouts import Split


@hydra_entry("evaluate")
def main(cfg: DictConfig) -> None:
    from rich.console import Console

    from vse_exp.evaluation.eccv import eccv_metrics
    from vse_exp.evaluation.evaluator import (
        common_similarity,
        embed_bank,
        embed_split,
        load_split_for,
    )
    from vse_exp.evaluation.neighbours import hubness
    from vse_exp.evaluation.protocols import evaluate_embeddings
    from vse_exp.evaluation.rank_files import write_ranks
    from vse_exp.evaluation.rerank import find_rerank
    from vse_exp.evaluation.statistics import bootstrap_intervals
    from vse_exp.evaluation.tables import eccv_table, results_table
    from vse_exp.models.checkpoint import load_model

    paths = [cfg.checkpoint] if isinstance(cfg.checkpoint, str) else list(cfg.checkpoint)
    models = [load_model(path, cfg.device) for path in paths]
    data: Any = OmegaConf.to_container(cfg.data, resolve=True)
    if cfg.bank is not None and cfg.rerank is None:
        raise UserError(f"bank={cfg.bank} is for re-ranking: say rerank=… too, or leave it out.")
    bank = cfg.bank and embed_bank(
        models, load_split_for(models, data, cfg.bank), f"{cfg.data.name} {cfg.bank}"
    )
    split = load_split_for(models, data, cfg.split)
    ids = _coco_ids(cfg, split)
    images, captions = embed_split(models, split)
    similarity = common_similarity(models)
    result = evaluate_embeddings(
        images,
        captions,
        split.caption_image,
        protocol=cfg.protocol,
        n_images=cfg.n_images,
        similarity=similarity,
        rerank=cfg.rerank and find_rerank(cfg.rerank, bank),
    )
    metrics: dict[str, Any] = dict(result.metrics)
    protocol = f"{cfg.data.name} {cfg.split}, {result.protocol}"
    rows = {cfg.split: result.metrics}
    if cfg.intervals:
        metrics["intervals"] = bootstrap_intervals(result.ranks)
        for side, name in enumerate(("from", "to")):
            rows[name] = {key: pair[side] for key, pair in metrics["intervals"].items()}
    if cfg.hubness:
        metrics |= hubness(images, captions, similarity=similarity)
    console = Console()
    console.print(results_table(rows))
    if ids is not None:
        of_coco = eccv_metrics(images, captions, *ids, similarity)
        metrics |= of_coco
        console.print(eccv_table(of_coco))
    notes = [protocol]
    if cfg.intervals:
        notes.append("from, to: 95 % bootstrap intervals over images")
    if cfg.hubness:
        notes.append(
            f"hubness: captions {metrics['aHubness']:.2f}, images {metrics['sHubness']:.2f}"
        )
    for note in notes:
        console.print(note, style="dim", highlight=False)
    if cfg.output is not None:
        _write(Path(cfg.output), metrics | {"protocol": protocol})
    if cfg.ranks is not None:
        write_ranks(cfg.ranks, result, protocol)


def _coco_ids(cfg: DictConfig, split: Split) -> tuple[np.ndarray, np.ndarray] | None:
    """What ECCV Caption's figures need, where they are asked for or can be had unasked."""
    from vse_exp.evaluation.eccv import coco_ids, eccv_applies

    if cfg.eccv not in (None, True, False):
        raise UserError(f"eccv={cfg.eccv}: choose true, false or null.")
    if cfg.eccv and cfg.rerank is not None:
        raise UserError("eccv=true is of scores as they are: leave out rerank, or eccv.")
    unasked = cfg.eccv is None and cfg.rerank is None and eccv_applies(cfg.data.name, split)
    if not cfg.eccv and not unasked:
        return None
    try:
        return coco_ids(split)
    except UserError as error:
        if cfg.eccv:
            raise
        print(f"No figures of ECCV Caption (eccv=false says nothing): {error}", file=sys.stderr)
        return None


def _write(path: Path, metrics: dict[str, Any]) -> None:
    if path.suffix == ".json":
        write_json(path, metrics)
    elif path.suffix == ".csv":
        flat = {key: value for key, value in metrics.items() if key != "intervals"}
        for name, (low, high) in metrics.get("intervals", {}).items():
            flat |= {f"{name}_low": low, f"{name}_high": high}
        text = io.StringIO()
        writer = csv.DictWriter(text, list(flat), lineterminator="\n")
        writer.writeheader()
        writer.writerow(flat)
        write_text(path, text.getvalue())
    else:
        raise UserError(f"output={path} ends neither in .json nor in .csv: choose one of them.")


if __name__ == "__main__":
    main()
