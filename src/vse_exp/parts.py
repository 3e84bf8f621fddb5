"""Parts: classes with typed keys, which a config or a checkpoint names by `_target_`."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ValidationInfo

from vse_exp.errors import UserError
from vse_exp.moved import joined
from vse_exp.schema import checked, of_signature, parameters_of, told_in_full

log = logging.getLogger(__name__)

TARGET, PARTIAL, ARGUMENTS = "_target_", "_partial_", "_args_"
_SPECIAL = (TARGET, PARTIAL, ARGUMENTS, "_convert_", "_recursive_")
_OURS = re.compile(r"vse_exp\.(images|losses|models|similarity|text)(\.[a-z][a-z0-9_]*)*\.[A-Z]\w*")
"""Where parts of ours lie that a checkpoint may name."""


class Part:
    """Base of the classes that a checkpoint may name.

    The parameters of `__init__` behind the `*` are its keys, with their types and defaults. Those
    before it are what the program gives, such as sizes: a part that has some comes to the part it
    stands in as a function of them.
    """

    _keys: dict[str, Any]

    def __new__(cls, *_: Any, **keys: Any) -> Self:
        part = super().__new__(cls)
        part.__dict__["_keys"] = keys  # what `part_spec` tells; a Module has no attributes yet
        return part


def part_spec(part: Part) -> dict[str, Any]:
    """The node that makes this part again, with all of its keys."""
    return check(_node(part), type(part).__name__)


def _node(value: Any) -> Any:
    """A value of a key as plain Python: parts, and what makes them, by their class and keys."""
    if isinstance(value, Part):
        return {TARGET: _name(type(value))} | _node(value._keys)
    if _is_ours(value):
        return {TARGET: _name(value)}
    if isinstance(value, partial) and _is_ours(value.func):
        return {TARGET: _name(value.func)} | _node(value.keywords)
    if isinstance(value, Mapping):
        return {key: _node(one) for key, one in value.items()}
    return [_node(one) for one in value] if isinstance(value, list | tuple) else value


def is_part(node: Any) -> bool:
    """Whether a config node names a class."""
    return isinstance(node, Mapping) and TARGET in node


def build(node: Any, *given: Any, where: str = "", trust: Sequence[str] | None = None) -> Any:
    """What a node `{_target_: package.module.Class, key: value, …}` describes, its own parts first.

    `given` goes before the keys. A part that needs more than is given, and any node with
    `_partial_: true`, becomes a function of the rest; `_args_` are positional, as in Hydra's nodes.
    `trust` None: the user has typed it, and any class is built; else the node is of a file, and
    only vse_exp's parts are built and what lies in the packages of that list. UserError for an
    unknown class or key, and for a wrong value.
    """
    return _construct(check(node, where, trust), given)


def check(node: Any, where: str, trust: Sequence[str] | None = None) -> dict[str, Any]:
    """The node with its keys in the types of its class, and so the parts in it; nothing is built.

    Parts of ours, and those written like them, get all of their keys. UserError as `build`.
    """
    if not is_part(node):
        raise UserError(f"{where or 'A part'} names no class: it needs a _target_.")
    found = locate(node[TARGET], where, trust)
    special = {key: node[key] for key in _SPECIAL if key in node}
    if _is_ours(found):
        special[TARGET] = _name(found)
    given = {str(key): value for key, value in node.items() if key not in special}
    untyped = frozenset(key for key, value in given.items() if _has_parts(value))
    if not isinstance(waiting := node.get(PARTIAL, False), bool):
        raise UserError(f"{joined(where, PARTIAL)}={waiting} must be true or false.")
    partly = bool(waiting or node.get(ARGUMENTS))
    try:
        schema = of_signature(found, untyped, partly, only_keywords=_is_ours(found))
    except (TypeError, ValueError):  # compiled code without a signature
        keys = given
    else:
        keys = checked(schema, given, where)
        if partly or not _is_ours(found):
            keys = {key: keys[key] for key in given}
    inside = partial(check, trust=trust)
    return special | {key: _each(one, joined(where, key), inside) for key, one in keys.items()}


def without_foreign_keys(config: dict[str, Any], typed: Sequence[str]) -> None:
    """Take out those keys of a recipe that are of another part than the one that was chosen.

    `typed` are the overrides of the command: with `model.encoder=bow` among them, what the
    experiment says of its own encoder and bow does not know is left out, and that is told; what was
    typed itself stays, to be refused.
    """
    chosen = [one.lstrip("+").partition("=")[0] for one in typed]
    for where in chosen:
        node: Any = config
        for name in where.split("."):
            node = node.get(name) if isinstance(node, Mapping) else None
        if not is_part(node) or not _is_ours(found := locate(node[TARGET], where)):
            continue
        known = of_signature(found, only_keywords=True).model_fields
        for key in [key for key in node if key not in _SPECIAL and key not in known]:
            name = f"{where}.{key}"
            if not any(one == name or one.startswith(f"{name}.") for one in chosen):
                log.info("%s=%s of the recipe is for another part, and left out", name, node[key])
                del node[key]


def _construct(node: dict[str, Any], given: Sequence[Any] = ()) -> Any:
    """Of a node that is checked."""
    found = locate(node[TARGET])
    keys = {
        key: _each(value, "", lambda one, _: _construct(one))
        for key, value in node.items()
        if key not in _SPECIAL
    }
    arguments = (*given, *node.get(ARGUMENTS, ()))
    waiting = _is_ours(found) and len(arguments) < _needed(found)
    make = partial(found, *arguments, **keys)
    try:
        return make if node.get(PARTIAL) or waiting else make()
    except ModuleNotFoundError as error:  # of a library's class, which says how to install it
        raise UserError(f"{node[TARGET]} cannot be built here: {error}") from error


def _name(found: Callable[..., Any]) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def _is_ours(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, Part)


def _needed(found: Callable[..., Any]) -> int:
    """How many arguments the program must give a part."""
    return sum(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) and one.default is one.empty
        for one in parameters_of(found)
    )


def _each(value: Any, where: str, handle: Callable[[Any, str], Any]) -> Any:
    """`value` with every node in it that names a class handled."""
    if is_part(value):
        return handle(value, where)
    if not _has_parts(value):
        return value
    if isinstance(value, Mapping):
        return {key: _each(one, joined(where, str(key)), handle) for key, one in value.items()}
    return [_each(one, f"{where}[{index}]", handle) for index, one in enumerate(value)]


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
    if trust is not None and not _is_ours(found):
        raise UserError(f"The file asks for {target}, which is no part of a model.")
    return found


def packages_of(node: Any) -> set[str]:
    """Those besides vse_exp whose parts a config names, which loading them asks to trust."""
    if isinstance(node, Mapping):
        named = {node[TARGET].partition(".")[0]} if is_part(node) else set()
        return named.union(*map(packages_of, node.values())) - {"vse_exp"}
    return set().union(*map(packages_of, node)) if isinstance(node, list) else set()


def _trusted(target: str, trust: Sequence[str]) -> bool:
    return any(target.startswith(f"{package}.") for package in trust)


def _has_parts(value: Any) -> bool:
    if isinstance(value, Mapping):
        return is_part(value) or any(_has_parts(one) for one in value.values())
    return isinstance(value, list) and any(_has_parts(one) for one in value)
