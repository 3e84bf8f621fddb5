"""A GPU for machines without one that computes, without gradients: its tensors lie on the CPU, say
that they are on another device, and refuse to meet the CPU's in an operation, as CUDA's do.

The device is called `meta`, since torch asks the driver of any other where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("meta")
aten = torch.ops.aten


class OnGpu(Tensor):
    """A tensor there; `held` has its values."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=GPU
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:
        raise AssertionError(f"{func} outside of ComputingGpu")


class ComputingGpu(TorchDispatchMode):
    """Within it there is a GPU. `scores`: how many numbers its matrix products had; `kernels`: the
    operations it ran; `limit`: elements of one tensor for which its memory is too small."""

    def __init__(self, limit: float = float("inf")) -> None:
        super().__init__()
        self.limit, self.scores, self.kernels, self.refused = limit, 0, 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = dict(kwargs or {}), func.overloadpacket
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # as under inference_mode
                return func.decompose(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [one for one in tensors if isinstance(one, OnGpu)]
        target = kwargs.get("device")
        to_gpu = target is not None and torch.device(target).type == GPU.type
        if to_gpu:
            kwargs["device"] = "cpu"
        indices = args[1] if name in (aten.index, aten.index_put, aten.index_put_) else []
        strange = [
            one for one in tensors
            if one.dim() and not isinstance(one, OnGpu) and not any(one is i for i in indices)
        ]  # fmt: skip
        moves = name in (aten.copy_, aten._to_copy)
        if there and strange and not moves:
            raise AssertionError(
                f"{func} of tensors there and on the CPU: {[tuple(one.shape) for one in strange]}"
            )
        back = {id(one.held): one for one in there}
        held = tree_map(lambda one: one.held if isinstance(one, OnGpu) else one, (args, kwargs))
        found = func(*held[0], **held[1])
        on_gpu = to_gpu or (bool(there) and (target is None or not moves))
        if name is aten.copy_:
            return args[0]
        if not on_gpu:
            return found.clone() if moves and found is held[0][0] else found
        self.kernels += 1
        made = [one for one in tree_leaves(found) if isinstance(one, Tensor)]
        if any(one.numel() > self.limit and id(one) not in back for one in made):
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        if name in (aten.mm, aten.addmm, aten.bmm):
            self.scores += made[0].numel()
        return tree_map(
            lambda one: back.get(id(one), OnGpu(one)) if isinstance(one, Tensor) else one, found
        )


class FreeMemory(NamedTuple):
    """What a module like torch.cuda says of it."""

    free: int

    def mem_get_info(self, _: torch.device) -> tuple[int, int]:
        return self.free, self.free

    def memory_reserved(self, _: torch.device) -> int:
        return 0

    memory_allocated = memory_reserved


@contextmanager
def computing_gpu(limit: float = float("inf"), free: int = 1 << 40) -> Iterator[ComputingGpu]:
    """With so many bytes free."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    with (
        patch("torch.autocast", lambda *_, **__: nullcontext()),  # does not know this device
        patch("torch.meta", FreeMemory(free), create=True),
        ComputingGpu(limit) as watched,
    ):
        try:
            yield watched
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)
