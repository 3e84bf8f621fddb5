"""`python -m vse_exp.report`: a static page of every result on a split; see conf/report.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError


@hydra_entry("report")
def main(cfg: DictConfig) -> None:
    from vse_exp.data.picture_splits import find_pictures
    from vse_exp.evaluation.evaluator import load_split_for
    from vse_exp.models.checkpoint import load_model
    from vse_exp.pages.report import write_report
    from vse_exp.retrieval.pictures import open_thumbnails

    if cfg.k < 1:
        raise UserError(f"k={cfg.k}: show at least one result of each query.")
    paths = [cfg.checkpoint] if isinstance(cfg.checkpoint, str) else list(cfg.checkpoint)
    models = [load_model(path, cfg.device) for path in paths]
    data: Any = OmegaConf.to_container(cfg.data, resolve=True)
    split = load_split_for(models, data, cfg.split)
    root = split.files.features.parents[1]
    place = cfg.pictures or cfg.data.pictures or find_pictures(root, cfg.data.name, cfg.split)
    thumbnails = open_thumbnails(place, split.image_names)
    if thumbnails is None:
        print("No pictures at hand (pictures=… says where they lie): images are shown by name.")
    result = write_report(
        cfg.output,
        models,
        split,
        source=f"{cfg.data.name} {cfg.split}",
        about=_about(paths, models),
        thumbnails=thumbnails,
        k=cfg.k,
        overwrite=cfg.overwrite,
    )
    print(f"rsum {result.metrics['rsum']:.1f} ({cfg.data.name} {cfg.split}, {result.protocol})")
    print(f"Report: {Path(cfg.output) / 'index.html'}")


def _about(paths: list[str], models: list[Any]) -> str:
    described = []
    for path, model in zip(paths, models, strict=True):
        config = model.config
        described.append(f"{Path(path).name} ({config.encoder}, {config.dim} dimensions)")
    return "Model: " + ", ".join(described)


if __name__ == "__main__":
    main()
