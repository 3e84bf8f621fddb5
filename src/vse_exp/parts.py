"""Parts: classes with typed keys, which a config or a checkpoint names by `_target_`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

from vse_exp.errors import UserError
from vse_exp.schema import checked, joined, of_signature, told_in_full

TARGET, PARTIAL, ARGUMENTS = "_target_", "_partial_", "_args_"
_SPECIAL = (TARGET, PARTIAL, ARGUMENTS, "_convert_", "_recursive_")
_OURS = re.compile(r"vse_exp\.(images|losses|models|similarity|text)(\.[a-z][a-z0-9_]*)*\.[A-Z]\w*")
"""Where parts of ours lie that a checkpoint may name."""


class Part:
    """Base of the classes that a checkpoint may name.

    The parameters of `__init__` behind the `*` are its keys, with their types and defaults; those
    before it are sizes, which the program gives. `spec` is what `build` makes the same from.
    """

    spec: dict[str, Any]


def is_part(node: Any) -> bool:
    """Whether a config node names a class."""
    return isinstance(node, Mapping) and TARGET in node


def build(node: Any, *given: Any, where: str = "", trust: Sequence[str] | None = None) -> Any:
    """What a node `{_target_: package.module.Class, key: value, …}` describes, its own parts first.

    `given` goes before the keys; with `_partial_: true` the result takes the rest later, and
    `_args_` are positional, as in Hydra's nodes. `trust` None: the user has typed it, and any class
    is built; else the node is of a file, and only vse_exp's parts are built and what lies in the
    packages of that list. UserError for an unknown class or key, and for a wrong value.
    """
    found, keys = _read(node, where, trust)
    built_keys = {
        key: _each(value, joined(where, key), partial(_build_here, trust=trust))
        for key, value in keys.items()
    }
    arguments = (*given, *node.get(ARGUMENTS, ()))
    if node.get(PARTIAL):
        return partial(found, *arguments, **built_keys)
    built = found(*arguments, **built_keys)
    if isinstance(built, Part):
        built.spec = {TARGET: node[TARGET], **keys}
    return built


def check(node: Any, where: str) -> dict[str, Any]:
    """The node with all keys of its class in their types, also of the parts in it; nothing built.

    UserError as `build`.
    """
    _, keys = _read(node, where, None)
    special = {key: node[key] for key in _SPECIAL if key in node}
    return special | {key: _each(value, joined(where, key), check) for key, value in keys.items()}


def _place(info: ValidationInfo) -> str:
    """The full name of the key that is validated; `checked` says in the context what holds it."""
    return joined((info.context or {}).get("where", ""), info.field_name or "")


def _checked_node(node: Any, info: ValidationInfo) -> dict[str, Any]:
    with told_in_full():
        return check(node, _place(info))


def _checked_nodes(nodes: Any, info: ValidationInfo) -> dict[str, Any]:
    where = _place(info)
    if not isinstance(nodes, Mapping):
        raise ValueError("a mapping of names to nodes with a _target_ each")
    with told_in_full():
        return {
            name: None if node is None else check(node, joined(where, str(name)))
            for name, node in nodes.items()
        }


Node = Annotated[dict[str, Any], BeforeValidator(_checked_node)]
"""A key of a schema that holds a part: any class by `_target_`, with its keys."""
Nodes = Annotated[dict[str, Any], BeforeValidator(_checked_nodes)]
"""One that holds parts by name; null leaves one out."""


def _build_here(node: Any, where: str, trust: Sequence[str] | None) -> Any:
    return build(node, where=where, trust=trust)


def _each(value: Any, where: str, handle: Callable[[Any, str], Any]) -> Any:
    """`value` with every node in it that names a class handled."""
    if is_part(value):
        return handle(value, where)
    if not _has_parts(value):
        return value
    if isinstance(value, Mapping):
        return {key: _each(one, joined(where, str(key)), handle) for key, one in value.items()}
    return [_each(one, f"{where}[{index}]", handle) for index, one in enumerate(value)]


def _read(
    node: Any, where: str, trust: Sequence[str] | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The class of a node, and its keys as that types them, for parts with their defaults."""
    if not is_part(node):
        raise UserError(f"{where or 'A part'} names no class: it needs a _target_.")
    found = locate(node[TARGET], where, trust)
    given = {str(key): value for key, value in node.items() if key not in _SPECIAL}
    untyped = frozenset(key for key, value in given.items() if _has_parts(value))
    own = inspect.isclass(found) and issubclass(found, Part)
    partly = bool(node.get(PARTIAL) or node.get(ARGUMENTS))
    try:
        schema = of_signature(found, untyped, partly, only_keywords=own)
    except (TypeError, ValueError):  # compiled code without a signature
        return found, given
    keys = checked(schema, given, where)
    if own and not partly:
        return found, keys
    return found, {key: keys[key] for key in given}


def locate(target: Any, where: str = "", trust: Sequence[str] | None = None) -> Callable[..., Any]:
    """The class or function of a dotted name. UserError where there is none, or no trust in it."""
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
        raise UserError(f"{where}._target_={target} is no dotted name of a class.")
    ours = _OURS.fullmatch(target) is not None
    if trust is not None and not ours and not _trusted(target, trust):
        package = target.split(".")[0]
        raise UserError(
            f"The file asks for {target}, which is not of vse_exp: if you trust that package, say "
            f"trust=[{package}] (load_model(…, trust=[{package!r}]))."
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        outer, _, inner = module.rpartition(".")  # a method of a class
        try:
            found = getattr(getattr(import_module(outer), inner), name)
        except (ImportError, AttributeError, ValueError):
            raise UserError(f"{where}._target_={target} is not there: {error}.") from None
    if trust is not None and not (inspect.isclass(found) and issubclass(found, Part)):
        raise UserError(f"The file asks for {target}, which is no part of a model.")
    return found


def _trusted(target: str, trust: Sequence[str]) -> bool:
    return any(target.startswith(f"{package}.") for package in trust)


def _has_parts(value: Any) -> bool:
    if isinstance(value, Mapping):
        return is_part(value) or any(_has_parts(one) for one in value.values())
    return isinstance(value, list) and any(_has_parts(one) for one in value)
