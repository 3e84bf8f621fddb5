"""What a training run is made of, built from its config."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vse_exp.data.datamodule import RetrievalDataModule
from vse_exp.data.scenes.build import cache_folder
from vse_exp.errors import UserError
from vse_exp.images.features import ImageFeatures
from vse_exp.models.backbone import BackboneImageEncoder, Trunk, load_trunk
from vse_exp.models.compiling import compile_parts
from vse_exp.models.config import ModelConfig
from vse_exp.models.pretrained_text import PretrainedText, read_subwords
from vse_exp.models.sentence import start_from_pretrained
from vse_exp.models.vse import VSE
from vse_exp.optimizers import build_optimizer
from vse_exp.text.subwords import SubwordVocabulary
from vse_exp.training.module import RetrievalModule

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
        with unknown_keys_told(key):
            if _UNKNOWN_KEY in str(error.__cause__):
                raise TypeError(str(error.__cause__)) from None
        raise
    if isinstance(built, partial):  # is called later, and its keys can be checked now
        with unknown_keys_told(key):
            inspect.signature(built.func).bind_partial(**built.keywords)
    return built


@contextmanager
def unknown_keys_told(key: str) -> Iterator[None]:
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
