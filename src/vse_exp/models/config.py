"""What a model is made of, as plain fields with the mistakes told early."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from vse_exp.errors import UserError
from vse_exp.models.word_vectors import vector_size

ENCODERS = {
    "bow": ("sum", "mean", "max", "attention", "gpo"),
    "gru": ("last", "mean", "max", "attention", "gpo"),
    "lstm": ("last", "mean", "max", "attention", "gpo"),
    "transformer": ("mean", "last", "max", "attention", "gpo"),
    "pretrained": ("mean", "first", "last", "max"),
}
"""The sentence encoders, and the poolings that each can have, its own first."""
IMAGE_ENCODERS = ("linear", "mlp", "backbone")
HEADS = ("linear", "mlp")
IMAGE_POOLINGS = ("mean", "max", "attention", "gpo", "random")
SIMILARITIES = ("cosine", "order")
INITS = ("default", "original")
_HIDDEN_SIZES = ("hidden_size", "dim", "d_model")
"""What Hugging Face's configurations call the size of a transformer's states."""


@dataclass(frozen=True)
class ModelConfig:
    """The keys of the `model` group."""

    encoder: str = "gru"
    """Sentence encoder, one of ENCODERS."""
    dim: int = 1024
    """Size of the common space, and of the recurrent state."""
    dim_word: int | None = None
    """Size of word vectors; None: 300, or that of `word_vectors`. For bow, whose output is made of
    them, it is `dim`."""
    num_layers: int = 1
    """Layers of the recurrence or transformer, one on the other."""
    bidirectional: bool = False
    """A second recurrence from the caption's end; the states of both are averaged."""
    pooling: str | None = None
    """From the words' vectors to the sentence's; None: sum for bow, last for gru and lstm, mean for
    transformer, the model's own for pretrained."""
    dropout: float = 0.0
    """Share of values dropped in training, between layers and in the sentence vector; for
    `pretrained` in its output."""
    word_dropout: float = 0.0
    """Share of words that training reads as unknown; for `pretrained` of pieces that it leaves out,
    where the model is not frozen (a frozen one reads each caption once)."""
    recurrent_bias: bool = False
    """A second bias on the recurrent product (torch's and VSE++'s GRU; the original has none)."""
    word_vectors: str | None = None
    """Text file of word vectors (GloVe's or fastText's) that training starts from."""
    text_model: str | None = None
    """Text model of the encoder `pretrained`: a folder, `package:NAME` for one inside an installed
    Python package, or a name on the Hugging Face hub."""
    text_frozen: bool = True
    """Whether it stays as it is, and only the map of its output is trained."""
    text_head: str = "linear"
    """What maps its output, one of HEADS."""
    center_text: bool = False
    """Subtract the training captions' mean from its output and normalise it again."""
    text_config: dict[str, Any] | None = None
    """Its architecture; read from `text_model`, and kept so that a checkpoint is complete."""
    dim_image: int | None = None
    """Size of an image feature vector; None: read from the data, or that of the backbone."""
    image_encoder: str = "linear"
    """Image encoder, one of IMAGE_ENCODERS; `backbone` takes pictures, the others features."""
    backbone: str = "small_cnn"
    """`small_cnn`, or a backbone of `vse_exp.extract` (`resnet18`, `timm:NAME`, …)."""
    backbone_weights: str | None = None
    """What training starts from: `pretrained`, `random` or a file; None: random for small_cnn, else
    pretrained. A checkpoint brings its own."""
    backbone_transform: dict[str, Any] | None = None
    """Keys of the preprocessing that differ from the weights' own; whole in a checkpoint."""
    backbone_head: str = "mlp"
    """What maps the backbone's features, one of HEADS."""
    unfreeze_epoch: int | None = 0
    """Epoch (from 0) in which the backbone begins to learn; None: never."""
    mlp_hidden: int = 1024
    """Hidden units of a perceptron, on the images' side or the pre-trained text's."""
    mlp_dropout: float = 0.0
    """Share of them dropped in training."""
    image_pooling: str = "mean"
    """From an image's regions or views to one vector, where it has several; `random`: in training
    one that is drawn, and their mean otherwise."""
    region_dropout: float = 0.0
    """Share of regions or views left out in training."""
    image_dropout: float = 0.0
    """Share of feature values dropped in training."""
    image_power: float = 1.0
    """Feature values are raised to this power, their signs kept; 0.5 evens out large ones."""
    center_images: bool = False
    """Subtract the training images' mean from features and bring their values to unit variance."""
    normalize_images: bool = True
    """Unit-norm images also in the loss; False is the original's."""
    unit_images: bool = True
    """Unit-norm images when encoding; False is VSE++'s `--no_imgnorm`."""
    similarity: str = "cosine"
    """How pairs are scored: cosine, or minus the order violation."""
    absolute: bool = False
    """Take absolute values of embeddings (order embeddings)."""
    init: str = "default"
    """Initial weights: `default`, or `original` (layers of the 2014 program)."""
    eps: float = 1e-8
    """Smallest norm that is divided by; 0 is the original's."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Build and check. UserError for unknown keys or values, and for what contradicts."""
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean model.{close[0]}?" if close else f"known: {', '.join(known)}."
                raise UserError(f"Unknown key model.{key}: {hint}")
        config = cls(**values)
        if config.encoder == "pretrained":
            config = config._with_text_model()
        config._check_choices()
        config._check_numbers()
        config._check_together()
        return config if config.dim_word else replace(config, dim_word=config._word_size())

    def resolve(self, dim_image: int) -> ModelConfig:
        """The same with the image size of the data. UserError where another one was typed."""
        if self.dim_image not in (None, dim_image):
            raise UserError(
                f"model.dim_image={self.dim_image}, and the image features have {dim_image}: "
                "leave out model.dim_image, which is read from the data."
            )
        return replace(self, dim_image=dim_image)

    @property
    def sentence_pooling(self) -> str:
        """`pooling`, or what the encoder has without it."""
        return self.pooling or ENCODERS[self.encoder][0]

    def _word_size(self) -> int:
        if self.word_vectors is None:
            return self.dim if self.encoder == "bow" else 300
        size = vector_size(self.word_vectors)
        if self.encoder == "bow" and size != self.dim:
            raise UserError(
                f"The vectors in {self.word_vectors} have {size} values and model.dim={self.dim}: "
                f"with model.encoder=bow they are one size, so set model.dim={size}."
            )
        return size

    def _with_text_model(self) -> ModelConfig:
        """The same with what follows from the text model."""
        from vse_exp.models.pretrained_text import read_text_config

        text_config = self.text_config
        if text_config is None:
            if self.text_model is None:
                raise UserError(
                    "model.encoder=pretrained needs model.text_model: a folder, package:NAME, or "
                    "a name on the Hugging Face hub."
                )
            text_config = read_text_config(self.text_model)
        transformer = text_config["transformer"]
        size = next(transformer[key] for key in _HIDDEN_SIZES if key in transformer)
        if self.dim_word not in (None, size):
            raise UserError(
                f"model.dim_word={self.dim_word}, and {self.text_model} has {size}: leave it out."
            )
        pooling = self.pooling or text_config["pooling"]
        return replace(self, dim_word=size, pooling=pooling, text_config=text_config)

    def _check_choices(self) -> None:
        _check_choice("encoder", self.encoder, ENCODERS)
        _check_choice("image_encoder", self.image_encoder, IMAGE_ENCODERS)
        _check_choice("text_head", self.text_head, HEADS)
        _check_choice("backbone_head", self.backbone_head, HEADS)
        _check_choice("image_pooling", self.image_pooling, IMAGE_POOLINGS)
        _check_choice("similarity", self.similarity, SIMILARITIES)
        _check_choice("init", self.init, INITS)
        if self.pooling is not None:
            _check_choice("pooling", self.pooling, ENCODERS[self.encoder], self.encoder)

    def _check_numbers(self) -> None:
        for name in ("dim", "dim_word", "dim_image", "num_layers", "mlp_hidden"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise UserError(f"model.{name} is {size}, and must be at least 1.")
        if self.unfreeze_epoch is not None and self.unfreeze_epoch < 0:
            raise UserError(
                f"model.unfreeze_epoch={self.unfreeze_epoch} must be 0 or more, or null."
            )
        if not 0 < self.image_power <= 1:
            raise UserError(f"model.image_power is {self.image_power}, and must lie in (0, 1].")
        for name in ("dropout", "word_dropout", "region_dropout", "image_dropout", "mlp_dropout"):
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise UserError(f"model.{name} is {share}, a share, and must lie in [0, 1).")

    def _check_together(self) -> None:
        if self.encoder == "bow" and self.dim_word not in (None, self.dim):
            raise UserError(
                f"model.dim_word={self.dim_word} contradicts model.dim={self.dim}: with "
                "model.encoder=bow they are one size, so leave out model.dim_word."
            )
        if self.encoder in ("bow", "pretrained") and self.num_layers != 1:
            raise UserError(
                f"model.num_layers={self.num_layers} means nothing for "
                f"model.encoder={self.encoder}: leave it out."
            )
        if self.encoder == "pretrained" and self.word_vectors is not None:
            raise UserError(
                "model.word_vectors means nothing for model.encoder=pretrained, which has its own "
                "words: leave it out."
            )
        if self.bidirectional and self.encoder not in ("gru", "lstm"):
            raise UserError(
                f"model.bidirectional=true means nothing for model.encoder={self.encoder}: "
                "it is for gru and lstm."
            )


def _check_choice(
    key: str, value: str, choices: Mapping[str, Any] | tuple[str, ...], encoder: str | None = None
) -> None:
    if value not in choices:
        where = f" for model.encoder={encoder}" if encoder else ""
        raise UserError(f"Unknown model.{key}={value}{where}: choose one of {', '.join(choices)}.")
