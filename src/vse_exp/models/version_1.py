"""Checkpoints of version 1, whose model was one flat table of keys, as those of version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vse_exp.errors import UserError

_ENCODERS = {
    "bow": "bow.BagOfWords",
    "gru": "rnn.GRU",
    "lstm": "rnn.LSTM",
    "transformer": "transformer.Transformer",
    "pretrained": "pretrained_text.PretrainedText",
}
_POOLINGS = {
    "sum": "SumPooling",
    "mean": "MeanPooling",
    "max": "MaxPooling",
    "first": "FirstPooling",
    "last": "LastPooling",
    "attention": "AttentionPooling",
    "gpo": "GeneralizedPooling",
    "random": "RandomPooling",
}
_TOKENIZERS = {"split": "Whitespace", "words": "Words", "stems": "Stems", "ptb": "Treebank"}
_SIMILARITIES = {"cosine": "cosine.Cosine", "order": "order.Order"}


def from_version_1(about: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the weights, rewritten. UserError where it asks for what never was."""
    config, vocabulary = about["config"], dict(about["vocabulary"])
    if "tokenizer" in vocabulary:
        vocabulary["tokenizer_json"] = vocabulary.pop("tokenizer")
    else:
        tokenizer = _choice(_TOKENIZERS, vocabulary.pop("tokenization"))
        vocabulary["tokenizer"] = _node(f"text.tokenizers.{tokenizer}")
    takes_pictures = config["image_encoder"] == "backbone"
    keys = ("dim", "normalize_images", "unit_images", "absolute", "eps")
    model = _node(
        "models.vse.VSE",
        **{key: config[key] for key in keys},
        similarity=_node(f"similarity.{_choice(_SIMILARITIES, config['similarity'])}"),
        encoder=_sentence_encoder(config),
        image_encoder=_backbone(config) if takes_pictures else _features(config),
    )
    return {
        "version": 2,
        "model": model,
        "dim_image": None if takes_pictures else config["dim_image"],
        "vocabulary": vocabulary,
        "provenance": about["provenance"],
    }


def _sentence_encoder(config: Mapping[str, Any]) -> dict[str, Any]:
    kind = config["encoder"]
    keys: dict[str, Any] = {key: config[key] for key in ("dropout", "word_dropout")}
    if config["pooling"] is not None:
        keys["pooling"] = _pooling(config["pooling"])
    if kind == "pretrained":
        text = config["text_config"]
        keys |= {
            "model": config["text_model"],
            "frozen": config["text_frozen"],
            "head": config["text_head"],
            "center": config["center_text"],
            "hidden": config["mlp_hidden"],
            "hidden_dropout": config["mlp_dropout"],
            "architecture": text and text["transformer"],
        }
    else:
        keys |= {"word_vectors": config["word_vectors"], "init": config["init"]}
    if kind in ("gru", "lstm", "transformer"):
        keys |= {key: config[key] for key in ("dim_word", "num_layers")}
    if kind in ("gru", "lstm"):
        keys |= {key: config[key] for key in ("bidirectional", "recurrent_bias")}
    return _node(f"models.{_choice(_ENCODERS, kind)}", **keys)


def _features(config: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    keys = {
        "pooling": _pooling(config["image_pooling"]),
        "region_dropout": config["region_dropout"],
        "dropout": config["image_dropout"],
        "power": config["image_power"],
        "center": config["center_images"],
    }
    if (kind or config["image_encoder"]) == "linear":
        return _node("models.feature_encoders.LinearImageEncoder", **keys)
    keys |= {"hidden": config["mlp_hidden"], "hidden_dropout": config["mlp_dropout"]}
    return _node("models.feature_encoders.MLPImageEncoder", **keys)


def _backbone(config: Mapping[str, Any]) -> dict[str, Any]:
    return _node(
        "models.backbone.BackboneImageEncoder",
        backbone=config["backbone"],
        weights=config["backbone_weights"],
        transform=config["backbone_transform"],
        unfreeze_epoch=config["unfreeze_epoch"],
        head=_features(config, config["backbone_head"]),
    )


def _pooling(name: str) -> dict[str, Any]:
    return _node(f"models.pooling.{_choice(_POOLINGS, name)}")


def _choice(table: Mapping[str, str], name: str) -> str:
    if name not in table:
        raise UserError(f"The checkpoint says {name!r}, and version 1 had {', '.join(table)}.")
    return table[name]


def _node(target: str, **keys: Any) -> dict[str, Any]:
    return {"_target_": f"vse_exp.{target}", **keys}
