"""`python -m vse_exp.evaluate`: recalls and ranks of a model; see conf/evaluate.yaml."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError
from vse_exp.files import atomic_path, write_json, write_text


@hydra_entry("evaluate")
def main(cfg: DictConfig) -> None:
    from rich.console import Console

    from vse_exp.data import load_split_from_config
    from vse_exp.evaluation.evaluator import evaluate_model
    from vse_exp.lightning.tables import results_table
    from vse_exp.models.checkpoint import load_model

    paths = [cfg.checkpoint] if isinstance(cfg.checkpoint, str) else list(cfg.checkpoint)
    models = [load_model(path, cfg.device) for path in paths]
    data: Any = OmegaConf.to_container(cfg.data, resolve=True)
    split = load_split_from_config(data, cfg.split)
    result = evaluate_model(models, split, protocol=cfg.protocol, n_images=cfg.n_images)
    protocol = f"{cfg.data.name} {cfg.split}, {result.protocol}"
    console = Console()
    console.print(results_table({cfg.split: result.metrics}))
    console.print(protocol, style="dim", highlight=False)
    if cfg.output is not None:
        _write(Path(cfg.output), result.metrics | {"protocol": protocol})
    if cfg.ranks is not None:
        with atomic_path(Path(cfg.ranks).with_suffix(".npz")) as temporary:
            np.savez(
                temporary,
                annotation_ranks=result.annotation_ranks.numpy(),
                search_ranks=result.search_ranks.numpy(),
                caption_image=result.caption_image.numpy(),
                protocol=np.array(protocol),
            )


def _write(path: Path, metrics: dict[str, Any]) -> None:
    if path.suffix == ".json":
        write_json(path, metrics)
    elif path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(metrics), lineterminator="\n")
        writer.writeheader()
        writer.writerow(metrics)
        write_text(path, text.getvalue())
    else:
        raise UserError(f"output={path} ends neither in .json nor in .csv: choose one of them.")


if __name__ == "__main__":
    main()
