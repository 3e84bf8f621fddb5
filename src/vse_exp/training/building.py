"""What a training run is made of, built from its config."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import lightning.pytorch as pl
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.data.scenes.build import cache_folder
from vse_exp.errors import UserError
from vse_exp.images.features import ImageFeatures
from vse_exp.models.backbone import BackboneImageEncoder, Trunk, load_trunk
from vse_exp.models.checkpoint import read_checkpoint, write_checkpoint
from vse_exp.models.compiling import compile_parts
from vse_exp.models.config import ModelConfig
from vse_exp.models.pretrained_text import PretrainedText, read_subwords
from vse_exp.models.sentence import start_from_pretrained
from vse_exp.models.vse import VSE
from vse_exp.optimizers import build_optimizer
from vse_exp.runs.folder import RunFolder
from vse_exp.text.subwords import SubwordVocabulary
from vse_exp.training.csv_logger import CSVMetrics
from vse_exp.training.log import TrainingLog
from vse_exp.training.module import RetrievalModule
from vse_exp.training.terminal import TrainingProgress

_UNKNOWN_KEY = "unexpected keyword argument"


def build_parts(cfg: DictConfig) -> tuple[RetrievalModule, RetrievalDataModule]:
    """The model in training, and the data that its sizes and vocabulary follow from."""
    config = ModelConfig.from_dict(plain(cfg.model))
    trunk = None
    if config.image_encoder == "backbone":
        config, trunk = load_trunk(config, cfg.seed)
    datamodule = RetrievalDataModule(
        plain(cfg.data),
        seed=cfg.seed,
        vocabulary=_pretrained_vocabulary(config),
        preprocessing=trunk.preprocessing if trunk else None,
    )
    module = RetrievalModule(
        build_model(config, datamodule, trunk),
        build(cfg.loss),
        partial(
            build_optimizer,
            factory=build(cfg.optimizer),
            lr_scales=cfg.lr_scales and plain(cfg.lr_scales),
            decay_weights_only=cfg.decay_weights_only,
        ),
        build(cfg.scheduler) if cfg.scheduler else None,
        decay_c=cfg.decay_c,
        grad_clip=cfg.grad_clip,
        ema=cfg.ema,
        chunk_size=cfg.chunk_size,
    )
    if cfg.compile:
        compile_parts(module.model)
    return module, datamodule


def build_model(
    config: ModelConfig, datamodule: RetrievalDataModule, trunk: Trunk | None = None
) -> VSE:
    """A new model whose image size and vocabulary follow from the training data.

    `trunk`: the backbone of one that takes pictures, with the weights to start from.
    """
    images = datamodule.split("train").image_features
    if isinstance(images, ImageFeatures):
        config = config.resolve(images.dim)
    model = VSE(config, datamodule.vocabulary, datamodule.provenance)
    if trunk is not None:
        assert isinstance(model.image_encoder, BackboneImageEncoder)
        model.image_encoder.backbone.load_state_dict(trunk.module.state_dict())
    if config.center_images:
        model.image_encoder.center_on(images.blocks())
    start_from_pretrained(model.sentence_encoder, datamodule.vocabulary.words)
    if isinstance(model.sentence_encoder, PretrainedText):
        # the same for every epoch and run, so read once and kept
        model.sentence_encoder.start(datamodule.tokenized("train"), cache_folder() / "text")
    return model


def _pretrained_vocabulary(config: ModelConfig) -> SubwordVocabulary | None:
    """The word pieces of a pre-trained text model; None where words are those of the data."""
    if config.encoder != "pretrained" or config.text_model is None:
        return None
    return read_subwords(config.text_model)


def build_trainer(cfg: DictConfig, folder: RunFolder, last: list[pl.Callback]) -> pl.Trainer:
    """The trainer with all callbacks, `last` at their end."""
    callbacks: list[pl.Callback] = [TrainingLog(cfg.disp_freq)]
    progress = sys.stderr.isatty() if cfg.progress == "auto" else bool(cfg.progress)
    callbacks.append(TrainingProgress(progress))
    callbacks += [build(one) for one in cfg.callbacks.values() if one is not None]
    # at the end, so that what they save holds the state of all others
    callbacks += last
    loggers = [CSVMetrics(folder.metrics)]
    loggers += [build(one) for one in cfg.logger.values() if one is not None]
    own = {
        "logger": loggers,
        "callbacks": callbacks,
        "plugins": [AtomicCheckpointIO()],
        "default_root_dir": folder.path,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": True,  # ours, which may be lines
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        # which captions are in an epoch or together decides how many batches it has
        "reload_dataloaders_every_n_epochs": int(
            cfg.data.captions_per_epoch is not None or cfg.data.captions_together > 1
        ),
    }
    wanted = plain(cfg.trainer)
    if clash := sorted(own.keys() & wanted.keys()):
        raise UserError(
            f"trainer.{clash[0]} is set by the program itself: leave it out (~trainer.{clash[0]})."
        )
    with _unknown_keys_told("trainer"):
        try:
            return pl.Trainer(**wanted, **own)
        except (ValueError, MisconfigurationException) as error:  # no such device, precision, …
            raise UserError(f"trainer in the config: {error}") from None


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written so that a kill or a full disk leaves the last one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        write_checkpoint(checkpoint, path)

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(path)


def build(node: Any) -> Any:
    """Instantiate a config node; a user's mistake in it comes out as one sentence."""
    if node is None:
        return None
    key = node._get_full_key(None)
    try:
        built = instantiate(node)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        with _unknown_keys_told(key):
            if _UNKNOWN_KEY in str(error.__cause__):
                raise TypeError(str(error.__cause__)) from None
        raise
    if isinstance(built, partial):  # is called later, and its keys can be checked now
        with _unknown_keys_told(key):
            inspect.signature(built.func).bind_partial(**built.keywords)
    return built


@contextmanager
def _unknown_keys_told(key: str) -> Iterator[None]:
    """A key that what is built has no place for, of the config node `key`."""
    try:
        yield
    except TypeError as error:
        if _UNKNOWN_KEY not in str(error):
            raise
        raise UserError(
            f"{key} in the config has a key too many: {error}. Leave it out (~{key}.KEY), or see "
            f"conf/{key.split('.')[0]} for those that exist."
        ) from None


def plain(node: Any) -> Any:
    """A config node as dicts, lists and values."""
    return OmegaConf.to_container(node, resolve=True)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Lightning's advice that does not hold here is not shown."""
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",
            ".*`val_dataloader`.*",
            ".*LeafSpec.*",
            ".*is smaller than the logging interval.*",
            ".*in eval mode at the start of training.*",  # frozen encoders are
            ".*`srun` command is available.*",
            ".*sync_dist=True.*",  # every process computes the same metrics
        ):
            warnings.filterwarnings("ignore", message=message)
        yield
