"""Dual encoders of transformers, by its auto classes: CLIP, SigLIP, ALIGN, …"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.models.text_models import model_folder, needs_transformers
from vse_exp.models.towers.cutting import Side, joined, refuse_downloads, remove
from vse_exp.text.subwords import SubwordVocabulary

_OTHER_SIDE = {"text": ("vis", "image", "logit", "temp"), "image": ("text", "logit", "temp")}
"""How the names of what a tower does not need begin."""
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def find(name: str) -> str:
    needs_transformers()
    return str(model_folder(name.removeprefix("hf:")))


def read_config(place: str) -> dict[str, Any]:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(place)
    return _plain({**config.to_dict(), "model_type": config.model_type})


def read_vocabulary(place: str) -> SubwordVocabulary:
    from tokenizers import Tokenizer
    from transformers import AutoConfig, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
        backend: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    except (AttributeError, ImportError, OSError, ValueError) as error:
        raise UserError(
            f"{place} has no tokenizer that transformers can hold as a tokenizer.json: write one "
            "into that folder."
        ) from error
    config = AutoConfig.from_pretrained(place)
    longest = config.text_config.max_position_embeddings
    fill = config.model_type.startswith("siglip")  # it was trained on nothing shorter
    if fill:
        backend.enable_padding(
            direction=tokenizer.padding_side,
            pad_id=tokenizer.pad_token_id,
            pad_token=tokenizer.pad_token,
            length=longest,
        )
    return SubwordVocabulary(backend.to_str(), longest, fill)


def read_preprocessing(place: str) -> Preprocessing:
    file = Path(place) / "preprocessor_config.json"
    if not file.is_file():
        raise UserError(f"No preprocessor_config.json in {place}: it says how pictures are cut.")
    settings = json.loads(file.read_text(encoding="utf-8"))
    size, crop = settings.get("size"), settings.get("crop_size")
    size = size if isinstance(size, Mapping) else {"shortest_edge": size}
    crop = crop.get("height") if isinstance(crop, Mapping) else crop
    squash = size.get("shortest_edge") is None
    side = size.get("height") if squash else size["shortest_edge"]
    if not isinstance(side, int) or (squash and size.get("width") != side):
        raise UserError(f"{file} asks for pictures that are no squares: such models are not known.")
    return Preprocessing(
        resize=side,
        crop=side if squash or not crop else crop,
        interpolation=_RESAMPLING.get(settings.get("resample", 3), "bicubic"),
        mean=tuple(round(255 * value, 6) for value in settings["image_mean"]),
        std=tuple(round(255 * value, 6) for value in settings["image_std"]),
        view="squash" if squash else "crop",
    )


def read_weights(place: str) -> Mapping[str, Tensor]:
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    return AutoModel.from_pretrained(place, dtype=torch.float32).state_dict()


def build(config: dict[str, Any], side: Side) -> nn.Module:
    needs_transformers()
    from transformers import AutoConfig, AutoModel

    refuse_downloads(config)
    known = AutoConfig.for_model(**config)
    tower = AutoModel.from_config(known, dtype=torch.float32)
    if not (hasattr(tower, "get_text_features") and hasattr(tower, "get_image_features")):
        raise UserError(f"A {known.model_type} is no dual encoder: it has not one tower a side.")
    names = [*dict(tower.named_children()), *dict(tower.named_parameters(recurse=False))]
    remove(tower, [name for name in names if name.startswith(_OTHER_SIDE[side])])
    return tower


def dim(config: dict[str, Any]) -> int:
    text = config["text_config"]
    for found in (
        config.get("projection_dim"), text.get("projection_size"), text.get("hidden_size"),
    ):  # fmt: skip
        if found is not None:
            return int(found)
    raise UserError("The towers' architecture does not say the size of their space.")


def heads(side: Side) -> str:
    return r"(text|visual)_projection\.|(text|vision)_model\.head\."


def encode_text(tower: nn.Module, tokens: Tensor, mask: Tensor | None) -> Tensor:
    return _pooled(cast(Any, tower).get_text_features(input_ids=tokens, attention_mask=mask))


def encode_images(tower: nn.Module, pixels: Tensor) -> Tensor:
    return _pooled(cast(Any, tower).get_image_features(pixel_values=pixels))


def checkpoint_gradients(tower: nn.Module) -> None:
    # not by its own method, which wants both towers and gradients of what is frozen too
    for part in tower.modules():
        if hasattr(part, "gradient_checkpointing"):
            layer = cast(Any, part)
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
            layer.gradient_checkpointing = True


def write(
    folder: Path,
    config: dict[str, Any],
    state: Mapping[str, Tensor],
    vocabulary: SubwordVocabulary,
    cut: Preprocessing,
) -> None:
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    known = AutoConfig.for_model(**config)
    whole: Any = joined(AutoModel.from_config(known, dtype=torch.float32), state)
    whole.save_pretrained(folder)
    _tokenizer(vocabulary, config["text_config"]).save_pretrained(folder)
    squash, side = cut.view == "squash", {"height": cut.crop, "width": cut.crop}
    settings = {
        "image_processor_type": "SiglipImageProcessor" if squash else "CLIPImageProcessor",
        "do_resize": True,
        "size": side if squash else {"shortest_edge": cut.resize},
        "resample": next(key for key, name in _RESAMPLING.items() if name == cut.interpolation),
        "do_center_crop": not squash,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": [value / 255 for value in cut.mean],
        "image_std": [value / 255 for value in cut.std],
    } | ({} if squash else {"crop_size": side})
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=1))


def _tokenizer(vocabulary: SubwordVocabulary, config: Mapping[str, Any]) -> Any:
    """The vocabulary as transformers' tokenizer, with the pieces that its configuration marks; old
    configurations of CLIP number them wrongly, which is no special piece then."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = json.loads(vocabulary.tokenizer_json)
    special = {one["id"]: one["content"] for one in content["added_tokens"] if one["special"]}
    marks = {
        f"{kind}_token": special.get(config.get(f"{kind}_token_id"), special[max(special)])
        for kind in ("pad", "eos")
        if special
    }
    if (start := special.get(config.get("bos_token_id"))) is not None:
        marks["bos_token"] = start
    if (padding := content.get("padding")) is not None:
        marks["pad_token"] = padding["pad_token"]
    if unknown := content["model"].get("unk_token"):
        marks["unk_token"] = unknown
    content["padding"] = content["truncation"] = None  # which its user says
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        model_max_length=vocabulary.max_length,
        **marks,
    )


def _pooled(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.pooler_output


def _plain(value: Any) -> Any:
    """A configuration without what only says where it was read from, and as plain data."""
    return json.loads(json.dumps(value, default=str))
