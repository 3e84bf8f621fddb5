"""`python -m vse_exp.convert`: other programs' models to ours and back; see conf/convert.yaml."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError


@hydra_entry("convert")
def main(cfg: DictConfig) -> None:
    from vse_exp.models.checkpoint import load_model, save_model

    output = Path(cfg.output)
    if output.suffix not in (".ckpt", ".npz"):
        raise UserError(f"output={output} ends neither in .ckpt (ours) nor in .npz (the original).")
    if cfg.vocabulary is None:
        model = load_model(cfg.checkpoint)
    else:
        from vse_exp.compat.vsepp import load_vsepp

        model = load_vsepp(cfg.checkpoint, cfg.vocabulary)
    if output.suffix == ".npz":
        from vse_exp.compat.original import write_original

        write_original(model, output)
    else:
        save_model(model, output, {"converted_from": Path(cfg.checkpoint).name})
    print(
        f"{output}: {model.config.encoder}, {len(model.vocabulary)} words, dim {model.config.dim}"
    )


if __name__ == "__main__":
    main()
