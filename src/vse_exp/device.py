"""Where a model runs, how much that holds, and how exactly it multiplies."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from vse_exp.errors import UserError

log = logging.getLogger(__name__)

T = TypeVar("T")
_told: set[str] = set()


def find_device(name: str | torch.device) -> torch.device:
    """The device of that name, `auto` a GPU if there is one. UserError where it cannot be used."""
    if name == "auto":
        others = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else others
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"device={name} cannot be used ({reason}): choose auto, cpu, cuda or mps."
        ) from error
    return device


def spare_processors() -> int:
    """One less than there are for this process, and at least one."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(16, processors - 1))


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had there; None where that is not known, as of the host."""
    backend: Any = getattr(torch, device.type, None)
    if not hasattr(backend, "mem_get_info"):
        return None
    kept = backend.memory_reserved(device) - backend.memory_allocated(device)  # for the next ones
    return backend.mem_get_info(device)[0] + kept


def fits(size: int, device: torch.device, share: float = 0.5) -> bool:
    """Whether so many bytes take at most a share of what is free there; true where that is not
    known."""
    free = free_memory(device)
    return free is None or size <= share * free


def smaller(work: Callable[[int], T], size: int, what: str) -> T:
    """`work(size)`, or where the device's memory does not hold that, of half the size, and so on;
    each `what` is told once. OutOfMemoryError where one alone is too many."""
    while True:
        try:
            return work(size)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        # out of the handler, since the error keeps what was held
        size //= 2
        if what not in _told:
            log.warning("The device's memory is too small for %s: fewer are taken at once.", what)
            _told.add(what)


@contextmanager
def full_precision() -> Iterator[None]:
    """Float32 products are as exact as float32 has them: neither TF32 nor bfloat16."""
    backends = (torch.backends.cuda, torch.backends.mkldnn)
    products = [getattr(backend, "matmul", None) for backend in backends]
    parts: list[Any] = [part for part in products if hasattr(part, "fp32_precision")]
    if parts:
        before = [part.fp32_precision for part in parts]
        for part in parts:
            part.fp32_precision = "ieee"
        try:
            yield
        finally:
            for part, precision in zip(parts, before, strict=True):
                part.fp32_precision = precision
        return
    legacy = torch.get_float32_matmul_precision()  # torch before 2.9
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(legacy)
