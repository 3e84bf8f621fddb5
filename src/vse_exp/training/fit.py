"""One training run from a composed config: resume, fit, test, record."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from vse_exp.alive import doing
from vse_exp.cli import plain, user_message
from vse_exp.data.datamodule import SPLITS, RetrievalDataModule
from vse_exp.data.layouts import Split
from vse_exp.data.opening import split_fingerprint
from vse_exp.errors import Interrupted, UserError
from vse_exp.evaluation.rank_files import write_ranks
from vse_exp.files import write_json
from vse_exp.models.checkpoint import load_weights
from vse_exp.retrieval.pictures import open_thumbnails
from vse_exp.runs.folder import RunFolder
from vse_exp.runs.reading import flatten, read_mapping
from vse_exp.runs.surroundings import peak_memory
from vse_exp.training.building import build_parts
from vse_exp.training.csv_logger import CSVMetrics
from vse_exp.training.dashboards import finish_loggers, log_answers, start_loggers
from vse_exp.training.distributed import is_first_process
from vse_exp.training.interruption import SaveOnSignal
from vse_exp.training.module import RetrievalModule
from vse_exp.training.resuming import resume_path, update_of
from vse_exp.training.trainer import build_trainer, quiet_lightning, starting_device
from vse_exp.training.validation import RetrievalValidation

log = logging.getLogger(__name__)

DATA = "data.json"
"""In the run folder: what tells its data from others of the same name."""


def train(
    cfg: DictConfig,
    overrides: Sequence[str] = (),
    report: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Train as `cfg` (conf/train.yaml) says; return `{"dev": metrics, "test": metrics, …}`.

    A finished run is not repeated: its results are returned. An unfinished one goes on where it
    was saved last (`resume=auto`). `report(number, rsum)` is told each validation's rsum.
    """
    try:
        return _train_or_read(cfg, overrides, RunFolder(cfg.paths.run_dir), report)
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
            raise  # a launcher's own; Lightning makes one of Ctrl-C
        raise Interrupted(
            "Interrupted: the same command goes on from the last update that was saved."
        ) from None


def _train_or_read(
    cfg: DictConfig,
    overrides: Sequence[str],
    folder: RunFolder,
    report: Callable[[int, float], None] | None,
) -> dict[str, Any]:
    doing("looking at the data")
    if cfg.resume == "auto":
        folder.check(cfg)
        _check_data(cfg, folder)
        if (finished := folder.finished()) is not None:
            log.info("%s is finished already (resume=never trains it again)", folder.path)
            shown = {".".join(key.split(".")[:2]) for key in flatten(read_mapping(folder.config))}
            if added := ", ".join(sorted(k for k in cfg.logger if f"logger.{k}" not in shown)):
                log.warning("so logger=%s gets nothing of it", added)
            return finished
    folder.prepare()
    if not is_first_process():
        logging.getLogger("vse_exp").setLevel(logging.WARNING)
        return _train(cfg, overrides, folder, report)
    with folder.hold(user_message):
        return _train(cfg, overrides, folder, report)


def _choices() -> Mapping[str, str | None]:
    """The choice of each group of configs, where the command is a training's own."""
    command = HydraConfig.get() if HydraConfig.initialized() else None
    return command.runtime.choices if command and command.job.config_name == "train" else {}


def _train(
    cfg: DictConfig,
    overrides: Sequence[str],
    folder: RunFolder,
    report: Callable[[int, float], None] | None,
) -> dict[str, Any]:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision(cfg.matmul_precision)
    resume_from = resume_path(cfg, folder)
    if is_first_process():
        folder.record(cfg, overrides, _choices())
        write_json(folder.path / DATA, _fingerprints(cfg))
    log.info("run: %s, seed %d", folder.path, cfg.seed)
    validation = RetrievalValidation(
        folder.checkpoints,
        every=cfg.valid_freq,
        at_end=cfg.valid_at_end,
        patience=cfg.patience,
        keep={"config_yaml": OmegaConf.to_yaml(cfg, resolve=True)},
        report=report,
    )
    doing("building the model")
    interruption = SaveOnSignal(folder.last)
    with quiet_lightning():
        trainer = build_trainer(cfg, folder, [validation, interruption])
    module, datamodule = build_parts(cfg, starting_device(trainer), trainer.is_global_zero)
    step = 0
    if resume_from is not None:
        step = update_of(resume_from, module)
        log.info("going on from %s at update %d", resume_from, step)
    for logger in trainer.loggers:
        if isinstance(logger, CSVMetrics):
            logger.resume_at(step)
    try:
        with quiet_lightning():
            start_loggers(trainer.loggers, plain(cfg))
            trainer.fit(module, datamodule=datamodule, ckpt_path=resume_from)
            results = _final_results(trainer, module, datamodule, folder, validation)
            if trainer.is_global_zero and folder.best.is_file():
                log_answers(
                    trainer.loggers,
                    module.evaluated_model,  # holds the best weights since its test
                    datamodule.split("dev"),
                    picture=_pictures(datamodule.split("dev")),
                    best=folder.best,
                    metrics=validation.best,
                    step=trainer.global_step,
                )
        results |= {
            "seconds": round(validation.seconds, 1),
            **peak_memory(),
            "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
        }
        if trainer.is_global_zero:
            write_json(folder.results, results)
    finally:
        finish_loggers(trainer.loggers)
        interruption.restore()
    return results


def _final_results(
    trainer: pl.Trainer,
    module: RetrievalModule,
    datamodule: RetrievalDataModule,
    folder: RunFolder,
    validation: RetrievalValidation,
) -> dict[str, Any]:
    """Dev's best metrics, and those of the best model on test."""
    doing("testing the best model")
    trainer.strategy.barrier("best checkpoint")
    if folder.best.is_file():
        load_weights(module.evaluated_model, folder.best)
    trainer.test(module, datamodule=datamodule, verbose=False)
    assert module.tested is not None
    if trainer.is_global_zero:
        write_ranks(folder.path / "test_ranks.npz", module.tested, _protocol(datamodule, "test"))
    return {
        "dev": validation.best | {"protocol": _protocol(datamodule, "dev")},
        "test": module.tested.metrics | {"protocol": _protocol(datamodule, "test")},
    }


def _fingerprints(cfg: DictConfig) -> dict[str, Any]:
    """What tells the data from others of the same name; nothing of splits that are not there."""
    found = {}
    for name in SPLITS:
        with suppress(UserError, OSError):
            found[name] = split_fingerprint(plain(cfg.data), name)
    return found


def _check_data(cfg: DictConfig, folder: RunFolder) -> None:
    """UserError where a run was made of other data than what is there now."""
    known = folder.path / DATA
    if not known.is_file() or not (folder.last.is_file() or folder.results.is_file()):
        return
    then = read_mapping(known)
    if not all(isinstance(each, dict) for each in then.values()):
        raise UserError(f"{known} is broken: each split must be a record.")
    for split, now in _fingerprints(cfg).items():
        before = then.get(split, now)
        for part in now.keys() & before.keys():
            if now[part] != before[part]:
                raise UserError(
                    f"{folder.path} holds a run on other {part} of the {split} split than those "
                    "that are there now: give another paths.run_dir, or resume=never to train anew."
                )


def _pictures(split: Split) -> Callable[[int], Any] | None:
    """What gives the picture of an image for a dashboard, where pictures are at hand."""
    thumbnails = open_thumbnails(split.pictures, split.image_names)
    if thumbnails is None:
        return None

    def picture(row: int) -> Any:
        jpeg = thumbnails.jpeg(row)
        return Image.open(io.BytesIO(jpeg)) if jpeg else Image.new("RGB", (8, 8))

    return picture


def _protocol(datamodule: RetrievalDataModule, name: str) -> str:
    split = datamodule.split(name)
    return (
        f"{datamodule.config['name']} {name}, {len(split.image_features):,} images x "
        f"{len(split.captions):,} captions, full gallery"
    )
