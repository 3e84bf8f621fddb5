"""Dual encoders of OpenCLIP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.weights import downloading
from vse_exp.models.towers.cutting import Side, joined, refuse_downloads, remove
from vse_exp.text.subwords import SubwordVocabulary

_FILE, _PREFIX, _LOCAL = "open_clip_config.json", "openclip:", "local-dir:"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What OpenCLIP's SimpleTokenizer takes as a word before it cuts that into pieces."""


def find(name: str) -> str | None:
    """What OpenCLIP calls a model, with its tag; None: it is not OpenCLIP's."""
    place = name.removeprefix(_PREFIX)
    if place == name:
        return f"{_LOCAL}{name}" if (Path(name) / _FILE).is_file() else None
    _open_clip()
    if place.startswith(_LOCAL):
        file = Path(place.removeprefix(_LOCAL)) / _FILE
        if not file.is_file():
            raise UserError(f"{name}: there is no {file}.")
    elif _open_clip().get_model_config(place.partition(":")[0]) is None:
        raise UserError(f"{name}: OpenCLIP has no such model; see open_clip.list_models().")
    return place


def read_config(place: str) -> dict[str, Any]:
    if place.startswith(_LOCAL):
        return _content(place)["model_cfg"]
    return _open_clip().get_model_config(place.partition(":")[0])


def _content(place: str) -> dict[str, Any]:
    file = Path(place.removeprefix(_LOCAL)) / _FILE
    return json.loads(file.read_text(encoding="utf-8"))


def read_vocabulary(place: str) -> SubwordVocabulary:
    from tokenizers import Tokenizer

    config = read_config(place).get("text_cfg", {})
    keys = config.get("tokenizer_kwargs", {})
    if config.get("tokenizer_mode") or set(keys) - {"clean"}:
        raise UserError(f"{_PREFIX}{place}: its way to read captions is not known here.")
    name = place if place.startswith(_LOCAL) else place.partition(":")[0]
    with downloading(f"the tokenizer of {place}", "https://huggingface.co"):
        known = _open_clip().get_tokenizer(name)
    length = known.context_length
    if not hasattr(known, "tokenizer"):
        clean = keys.get("clean", "lower")
        return SubwordVocabulary(_clip_tokenizer(known, length).to_str(), length, True, clean)
    backend = Tokenizer.from_str(known.tokenizer.backend_tokenizer.to_str())
    backend.enable_padding(
        direction=known.tokenizer.padding_side,
        pad_id=known.tokenizer.pad_token_id,
        pad_token=known.tokenizer.pad_token,
        length=length,
    )
    return SubwordVocabulary(backend.to_str(), length, True, keys.get("clean", "whitespace"))


def _clip_tokenizer(known: Any, length: int) -> Any:
    """OpenCLIP's SimpleTokenizer, after its cleaning, as one of the library `tokenizers`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    merges = sorted(known.bpe_ranks, key=known.bpe_ranks.__getitem__)
    tokenizer = Tokenizer(models.BPE(known.encoder, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = (known.decoder[known.sot_token_id], known.decoder[known.eot_token_id])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, known.sot_token_id), (end, known.eot_token_id)],
    )
    tokenizer.enable_padding(pad_id=0, pad_token=known.decoder[0], length=length)
    return tokenizer


def read_preprocessing(place: str) -> Preprocessing:
    from open_clip.transform import PreprocessCfg

    settings = asdict(PreprocessCfg())
    if place.startswith(_LOCAL):
        given = _content(place).get("preprocess_cfg", {})
    else:
        name, _, tag = place.partition(":")
        given = _open_clip().get_pretrained_cfg(name, tag) if tag else {}
    settings |= {key: value for key, value in given.items() if value is not None}
    size = read_config(place)["vision_cfg"].get("image_size", 224)
    size = size if isinstance(size, int) else size[-1]
    return Preprocessing(
        resize=size,
        crop=size,
        interpolation=settings["interpolation"],
        mean=tuple(round(255 * value, 6) for value in settings["mean"]),
        std=tuple(round(255 * value, 6) for value in settings["std"]),
        view="squash" if settings.get("resize_mode") == "squash" else "crop",
    )


def read_weights(place: str) -> Mapping[str, Tensor]:
    local = place.startswith(_LOCAL)
    name, _, tag = (place, "", "") if local else place.partition(":")
    with downloading(_PREFIX + place, "https://huggingface.co"):
        whole = _open_clip().create_model(name, pretrained=tag or None, pretrained_text=False)
    return whole.state_dict()


def build(config: dict[str, Any], side: Side) -> nn.Module:
    open_clip = _open_clip()
    config = deepcopy(config)
    if "multimodal_cfg" in config or "hf_model_name" in config.get("text_cfg", {}):
        raise UserError("OpenCLIP's CoCa and text towers of other libraries are not known here.")
    config.get("vision_cfg", {}).pop("timm_model_pretrained", None)
    refuse_downloads(config)
    custom = config.pop("custom_text", False)
    if side == "image":
        config["text_cfg"] = {**config["text_cfg"], "layers": 1}
    tower = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    names = [*dict(tower.named_children()), *dict(tower.named_parameters(recurse=False))]
    kept = [name for name in names if (name == "visual") == (side == "image")]
    remove(tower, [n for n in names if n not in kept or n.startswith("logit")])
    return tower


def dim(config: dict[str, Any]) -> int:
    return int(config["embed_dim"])


def heads(side: Side) -> str:
    if side == "text":
        return r"(text\.)?text_projection(\.|$)"
    return r"visual\.(proj$|head\.|attnpool\.|trunk\.attn_pool\.)"


def encode_text(tower: nn.Module, tokens: Tensor, mask: Tensor | None) -> Tensor:
    return cast(Any, tower).encode_text(tokens)


def encode_images(tower: nn.Module, pixels: Tensor) -> Tensor:
    return cast(Any, tower).encode_image(pixels)


def checkpoint_gradients(tower: nn.Module) -> None:
    for part in tower.children():
        if hasattr(part, "set_grad_checkpointing"):
            cast(Any, part).set_grad_checkpointing(True)
        elif hasattr(part, "grad_checkpointing"):
            part.grad_checkpointing = True  # type: ignore[assignment]  # of a bare Transformer


def write(
    folder: Path,
    config: dict[str, Any],
    state: Mapping[str, Tensor],
    vocabulary: SubwordVocabulary,
    cut: Preprocessing,
) -> None:
    from safetensors.torch import save_file

    keys = deepcopy(config)
    custom = keys.pop("custom_text", False)
    keys.get("vision_cfg", {}).pop("timm_model_pretrained", None)
    whole = joined((_open_clip().CustomTextCLIP if custom else _open_clip().CLIP)(**keys), state)
    told = {
        "mean": [value / 255 for value in cut.mean],
        "std": [value / 255 for value in cut.std],
        "interpolation": cut.interpolation,
        "resize_mode": "squash" if cut.view == "squash" else "shortest",
    }
    content = {"model_cfg": config, "preprocess_cfg": told}
    (folder / _FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    save_file(whole.state_dict(), folder / "open_clip_model.safetensors", {"format": "pt"})


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise UserError(
            "OpenCLIP's models need the extra `openclip`: pip install 'vse_exp[openclip]'."
        ) from error
    return open_clip
