"""Weights of backbones: reading files, downloading without hanging, and hashing what is loaded."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vse_exp.errors import UserError

CONNECT_SECONDS = 5.0
"""How long to wait for a host of weights before going on without it."""


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or torch file by name; no code in the file is run.

    Wrappers around a state dict ("state_dict", "model"), and DataParallel's "module." before names
    are taken off. Raises UserError where the file is missing, broken or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"No weights file {path}: correct weights=….")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors, or is damaged, and is not loaded: save the model's "
            "state_dict() alone."
        ) from error
    except Exception as error:  # torch and safetensors raise their own kinds
        raise UserError(f"{path} is no complete weights file ({_first_line(error)}).") from error
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds no state dict: save the model's state_dict().")
    if not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds things beside tensors: save the model's state_dict().")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def load_into(
    module: nn.Module, weights: Mapping[str, Tensor], heads: tuple[str, ...], source: str
) -> None:
    """Load all weights of `module`, leaving out those of classifiers named by `heads`.

    UserError where something is missing, left over, or of another shape.
    """
    kept = {
        name: value
        for name, value in weights.items()
        if not any(name == head or name.startswith(head + ".") for head in heads)
    }
    own = module.state_dict()
    fillable = {name for name in own if name.endswith("num_batches_tracked")}
    missing = own.keys() - kept.keys() - fillable
    extra = kept.keys() - own.keys()
    if missing or extra:
        examples = [f"lacks {min(missing)}"] if missing else []
        examples += [f"has {min(extra)} beside"] if extra else []
        raise UserError(
            f"The weights {source} do not belong to this backbone: the file "
            f"{' and '.join(examples)} ({len(missing)} missing, {len(extra)} unknown names)."
        )
    for name, value in kept.items():
        if value.shape != own[name].shape:
            raise UserError(
                f"The weights {source} do not fit this backbone: {name} has shape "
                f"{tuple(value.shape)} in the file and {tuple(own[name].shape)} in the backbone."
            )
    module.load_state_dict(kept, strict=False)


def weights_hash(
    module: nn.Module, head: str = "{name} {dtype} {shape}", counters: bool = False
) -> str:
    """SHA-256 of all parameters and buffers by name, the same wherever they were loaded from.

    `head` is hashed before each; `counters`: with those of batch norms, which change no output.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if counters or not name.endswith("num_batches_tracked"):
            array = value.detach().cpu().contiguous()
            told = head.format(name=name, dtype=array.dtype, shape=tuple(array.shape))
            digest.update(f"{told}\n".encode())
            digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


_EFFICIENTNET_NAMES = (
    (r"^_conv_stem\.", "conv_stem."),
    (r"^_bn0\.", "bn1."),
    (r"^_conv_head\.", "conv_head."),
    (r"^_bn1\.", "bn2."),
    (r"^_fc\.", "classifier."),
)
_BLOCK_NAMES = {
    False: {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"},
    True: {
        **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
        **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
    },
}
"""By whether the block begins with an expansion."""


def is_efficientnet_pytorch(weights: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the EfficientNet-PyTorch package and its Lite variants."""
    return "_conv_stem.weight" in weights


def as_timm_efficientnet(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """EfficientNet-PyTorch's weights under the names of timm's `module` (without SE blocks)."""
    places: list[str] = []
    for name in module.state_dict():
        found = re.match(r"(blocks\.\d+\.\d+)\.", name)
        if found and found[1] not in places:
            places.append(found[1])
    renamed = {}
    for name, value in weights.items():
        block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", name)
        if block and int(block[1]) < len(places):
            names = _BLOCK_NAMES[f"_blocks.{block[1]}._expand_conv.weight" in weights]
            name = f"{places[int(block[1])]}.{names.get(block[2], block[2])}.{block[3]}"
        for old, new in _EFFICIENTNET_NAMES:
            name = re.sub(old, new, name)
        renamed[name] = value
    return renamed


@contextmanager
def downloading(what: str, url: str) -> Iterator[None]:
    """Fetch inside this block without ever hanging; files already cached are used.

    Where the host of `url` cannot be reached, the Hugging Face hub is set offline for the block
    (it would go on trying for a minute). Whatever fails becomes a UserError.
    """
    socket_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)
    try:
        with _hub_offline(not _reachable(url)):
            yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"Cannot get the weights of {what} ({_first_line(error)}): download them elsewhere "
            "and give weights=FILE."
        ) from error
    finally:
        socket.setdefaulttimeout(socket_timeout)


@contextmanager
def _hub_offline(offline: bool) -> Iterator[None]:
    try:
        from huggingface_hub import constants
    except ImportError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(url: str) -> bool:
    if urllib.request.getproxies():
        return True  # the proxy looks the host up
    parts = urllib.parse.urlsplit(url)
    answers: list[bool] = []

    def connect() -> None:
        try:
            address = (parts.hostname or "", parts.port or 443)
            socket.create_connection(address, CONNECT_SECONDS).close()
            answers.append(True)
        except OSError:
            pass

    # in a thread, since looking a name up has no time limit of its own
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return bool(answers)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
