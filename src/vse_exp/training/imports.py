"""Lightning without what it and torchmetrics load for things that are not used here."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

UNUSED = ("matplotlib", "scipy", "torchvision", "transformers")
"""Packages that torchmetrics imports where they are installed, for some metrics and for plots."""
COMPILER = "torch._dynamo"


def import_lightning() -> None:
    """Import Lightning, and torchmetrics with it, as if the packages of `UNUSED` were not there,
    and without torch's compiler, which is imported by the first who wants more of it than to know
    that nothing is compiled.

    This saves a training about half of the processor time before its first step. It is for a
    process of our own: metrics of torchmetrics that need one of these will miss it. The packages
    themselves can be imported afterwards as ever.
    """
    if "torchmetrics" in sys.modules:
        return
    import torch
    from lightning_utilities.core import imports

    package_available, is_met = imports.package_available, imports.RequirementCache.__bool__

    def unless_unused(self: imports.RequirementCache) -> bool:
        return not str(self.requirement).startswith(UNUSED) and is_met(self)

    imports.package_available = lambda name: name not in UNUSED and package_available(name)
    imports.RequirementCache.__bool__ = unless_unused
    disable = torch.compiler.disable
    torch.compiler.disable = _disabled
    if COMPILER not in sys.modules:
        sys.modules[COMPILER] = _Uncompiled()
    try:
        import lightning.pytorch  # noqa: F401
        import torchmetrics  # noqa: F401
    finally:
        torch.compiler.disable = disable
        imports.package_available = package_available
        imports.RequirementCache.__bool__ = is_met


def _disabled(fn: Any = None, recursive: bool = True, **_: Any) -> Any:
    """torch.compiler.disable, which imports the compiler, in torch's own way, which does not."""
    from torch._compile import _disable_dynamo

    return _disable_dynamo(fn, recursive)


class _OptimizedModules(type):
    def __instancecheck__(cls, one: Any) -> bool:
        compiler = sys.modules[COMPILER]
        return not isinstance(compiler, _Uncompiled) and isinstance(one, compiler.OptimizedModule)


class _Uncompiled(ModuleType):
    """Stands for torch's compiler: Lightning asks it whether a module is compiled, and optimisers
    mark with it what should not be, at each update. For whatever else the true one comes."""

    class OptimizedModule(metaclass=_OptimizedModules):
        pass

    def __init__(self) -> None:
        super().__init__(COMPILER)
        spec = find_spec(COMPILER)
        self.__path__ = (spec and spec.submodule_search_locations) or []
        self.marked: list[Any] = []
        self.submodules = _Submodules(self)
        sys.meta_path.insert(0, self.submodules)

    @staticmethod
    def graph_break() -> None:
        """Nothing, outside of what is compiled."""

    def disable(self, fn: Any = None, *given: Any, **keys: Any) -> Any:
        if keys.get("wrapping") is not False:  # asked by others than torch, who will compile
            return self.true_one().disable(fn, *given, **keys)
        self.marked.append(fn)
        return fn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.true_one(), name)

    def true_one(self) -> ModuleType:
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
            sys.meta_path.remove(self.submodules)
            for fn in self.marked:
                vars(fn).pop("__dynamo_disable", None)  # so that torch asks the true one
        return import_module(COMPILER)


class _Submodules(MetaPathFinder, Loader):
    """Who imports a submodule gets the true compiler first, and of it the submodule."""

    def __init__(self, stand_in: _Uncompiled) -> None:
        self.stand_in = stand_in

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not fullname.startswith(f"{COMPILER}."):
            return None
        self.stand_in.true_one()
        found = sys.modules.get(fullname)
        return found and ModuleSpec(fullname, self, loader_state=found.__spec__)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state
