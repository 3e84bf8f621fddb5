"""A GPU for machines without one: torch's `meta` device, whose tensors have shapes and no values.

Nothing can be computed there that the host would have to know, and `Watch` tells where a GPU would
refuse something or keep the host waiting.
"""

from __future__ import annotations

import traceback
from contextlib import ExitStack, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from lightning.pytorch.accelerators.cpu import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("meta")
aten = torch.ops.aten
NEED_VALUES = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique, aten._unique2,
    aten.unique_dim, aten.unique_consecutive, aten.bincount, aten.equal, aten.is_nonzero,
    aten.repeat_interleave, aten._coalesce, aten._pack_padded_sequence,
}  # fmt: skip
"""Their results, or the sizes of these, are known to the host only when the GPU is done."""
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
FROM_HOST = {torch.tensor, torch.as_tensor, Tensor.new_tensor}


class Refused(AssertionError):
    """A GPU would refuse it, or keep the host waiting; told with the place in the program."""


class Watch(TorchDispatchMode):
    """Within it, also backward: Refused where tensors of host and GPU meet in an operation, and
    where the host waits for the GPU. `counted`: the operations on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0

    def __enter__(self) -> Watch:
        self._open = ExitStack()
        # autocast does not know this device
        self._open.enter_context(patch("torch.autocast", lambda *_, **__: nullcontext()))
        fused = "torch.optim.optimizer._get_fused_kernels_supported_devices"
        self._open.enter_context(patch(fused, lambda: [GPU.type]))
        self._open.enter_context(_Constants())
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._open.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(each.device == GPU for each in tensors) or _device(kwargs) == GPU:
            self.counted += 1
            self._check(name, args, kwargs, tensors)
            if name.__name__.startswith("_fused_"):  # optimisers' updates, all in place
                return None
        return func(*args, **kwargs)

    def _check(self, name: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> None:
        # in whose lists a number of the host is refused, or makes a loop
        lists = name.__name__.startswith(("_foreach_", "_fused_"))
        on_host = [each for each in tensors if each.device != GPU and (lists or each.dim() > 0)]
        if name in NEED_VALUES:
            _refuse(f"{name} waits")
        elif name in INDEXING:
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    _refuse(f"{name} by a mask waits")
            if on_host:
                _refuse(f"{name} by what is on the host waits")
        elif name in (aten._to_copy, aten.copy_):
            quick = kwargs.get("non_blocking", name is aten.copy_ and len(args) > 2 and args[2])
            places = {each.device for each in tensors} | {_device(kwargs)} - {None}
            if len(places) > 1 and not quick:
                _refuse(f"{name} between host and GPU waits")
        elif on_host:
            _refuse(f"{name} has tensors on the host {[tuple(each.shape) for each in on_host]}")


class _Constants(TorchFunctionMode):
    """Numbers of the host made a tensor there are a copy that waits."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FROM_HOST:
            like = args[0] if func is Tensor.new_tensor else None
            if (_device(kwargs) or getattr(like, "device", None)) == GPU:
                _refuse(f"{func.__name__} of numbers of the host waits")
        return func(*args, **kwargs)


class FakeAccelerator(CPUAccelerator):
    """For Lightning's Trainer."""

    def setup_device(self, device: torch.device) -> None:
        pass


class FakeStrategy(SingleDeviceStrategy):
    def __init__(self) -> None:
        super().__init__(GPU)

    def reduce(self, *_: Any, **__: Any) -> Tensor:
        """Lightning asks, before the first update, whether the loader is empty."""
        return torch.ones(())

    def teardown(self) -> None:
        """Lightning's would fetch the model."""


def _device(kwargs: Any) -> torch.device | None:
    return None if kwargs.get("device") is None else torch.device(kwargs["device"])


def _refuse(what: str) -> None:
    frames = [each for each in traceback.extract_stack() if "/src/vse_exp/" in each.filename]
    place = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "outside"
    raise Refused(f"{what} ({place})")
