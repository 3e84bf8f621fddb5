"""`python -m vse_exp.export`: a model as a folder to share, with its card; see conf/export.yaml."""

from __future__ import annotations

from typing import Literal

from omegaconf import DictConfig

from vse_exp.cli import verb
from vse_exp.cli.keys import ModelCommand
from vse_exp.schema import Text


class Export(ModelCommand):
    checkpoint: Text
    output: Text
    overwrite: bool
    format: Literal["vse_exp", "library"]
    onnx: bool
    results: list[Text]
    license: Text | None
    push: Text | None
    private: bool


@verb("export", Export)
def main(cfg: DictConfig) -> None:
    from vse_exp.models.sharing import push_folder
    from vse_exp.pages.card import export_model

    folder = export_model(
        cfg.checkpoint,
        cfg.output,
        trust=cfg.trust,
        as_library=cfg.format == "library",
        onnx=cfg.onnx,
        results=cfg.results,
        licence=cfg.license,
        address=cfg.push,
        overwrite=cfg.overwrite,
    )
    print(f"Folder: {folder}")
    if cfg.push is not None:
        print(f"Pushed: {push_folder(folder, cfg.push, cfg.private)}")


if __name__ == "__main__":
    main()
