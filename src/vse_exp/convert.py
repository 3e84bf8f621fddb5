"""`python -m vse_exp.convert`: other programs' models to ours and back; see conf/convert.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig

from vse_exp.cli import verb
from vse_exp.cli.keys import ModelCommand
from vse_exp.schema import Text, form


class Convert(ModelCommand):
    checkpoint: Text
    output: Annotated[
        str, form(r"\.(ckpt|npz)$", "a file that ends in .ckpt (ours) or .npz (the original's)")
    ]
    vocabulary: Text | None


@verb("convert", Convert)
def main(cfg: DictConfig) -> None:
    from vse_exp.compat.loading import load_file
    from vse_exp.models.checkpoint import save_model

    output = Path(cfg.output)
    if cfg.vocabulary is None:
        model = load_file(cfg.checkpoint, trust=cfg.trust)
    else:
        from vse_exp.compat.vsepp import load_vsepp

        model = load_vsepp(cfg.checkpoint, cfg.vocabulary)
    if output.suffix == ".npz":
        from vse_exp.compat.original import write_original

        write_original(model, output)
    else:
        save_model(model, output, {"converted_from": Path(cfg.checkpoint).name})
    kind = type(model.sentence_encoder).__name__
    print(f"{output}: {kind}, {len(model.vocabulary)} words, dim {model.dim}")


if __name__ == "__main__":
    main()
