"""Typed keys: what a config may hold, checked once, each mistake told in one sentence."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from vse_exp.errors import UserError

Share = Annotated[float, Field(ge=0, lt=1)]
"""A share of something that training drops."""
Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


_PLAINER = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "a text",
    "a valid list": "a list, [a, b]",
    "a valid dictionary": "a mapping, {key: value}",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


class Keys(BaseModel):
    """Base of the schemas of commands: unknown keys, NaN and Inf are refused."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
    )


def checked(schema: type[BaseModel], values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """`values` with the types that `schema` says, `no` and `off` as false among them.

    `where` is the key that holds them, for messages. UserError names the first wrong key.
    """
    known = schema.model_fields
    unknown = [key for key in values if key not in known]
    if unknown and schema.model_config.get("extra") == "forbid":
        raise unknown_key(unknown[0], known, where)
    try:
        found = schema.model_validate(dict(values))
    except ValidationError as error:
        raise UserError(_sentence(error, where)) from None
    result = {key: getattr(found, key) for key in known}
    result |= found.model_extra or {}
    for key, value in values.items():
        number = result.get(key)
        if isinstance(value, bool) and not isinstance(number, bool) and number == value:
            raise UserError(f"{joined(where, key)}={str(value).lower()} must be a number.")
    return result


def unknown_key(key: str, known: Iterable[str], where: str = "") -> UserError:
    """That there is no such key, with the nearest of those that there are."""
    names = list(known)
    close = difflib.get_close_matches(key, names, n=1)
    if close:
        hint = f"did you mean {joined(where, close[0])}?"
    else:
        hint = f"there are {', '.join(names)}." if names else f"{where or 'it'} has no keys."
    return UserError(f"Unknown key {joined(where, key)}: {hint}")


@cache
def of_signature(
    part: Callable[..., Any],
    untyped: frozenset[str] = frozenset(),
    partly: bool = False,
    only_keywords: bool = False,
) -> type[BaseModel]:
    """What a class or function takes by name; with `only_keywords` what stands behind a `*` alone.

    The keys `untyped` may hold anything, and with `partly` none is required. Raises ValueError or
    TypeError for what has no signature.
    """
    parameters = list(inspect.signature(part).parameters.values())
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters)
    by_name = {inspect.Parameter.KEYWORD_ONLY}
    if not only_keywords:
        by_name.add(inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keys = [one for one in parameters if one.kind in by_name]
    hints = _hints(part)
    fields: dict[str, Any] = {}
    for one in keys:
        default = one.default
        if default is one.empty:
            default = None if partly else ...
        fields[one.name] = (Any if one.name in untyped else hints.get(one.name, Any), default)
    config = ConfigDict(**Keys.model_config) | ConfigDict(extra="allow" if open_ended else "forbid")
    return create_model(getattr(part, "__name__", "Keys"), __config__=config, **fields)


def _hints(part: Callable[..., Any]) -> dict[str, Any]:
    """The types of a signature; none where they cannot be found out, as of some compiled code."""
    try:
        return get_type_hints(part.__init__ if inspect.isclass(part) else part, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _sentence(error: ValidationError, where: str) -> str:
    first, *_ = faults = error.errors(include_url=False)
    key = joined(where, *(str(part) for part in first["loc"][:1]))
    if first["type"] == "missing":
        return f"{key}=… is required and was not given."
    same = [one for one in faults if one["loc"][:1] == first["loc"][:1]]
    wanted = " or ".join(dict.fromkeys(_wanted(one["msg"]) for one in same))
    value = first["input"]
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
    return f"{key}={shown} must be {wanted}."


def _wanted(message: str) -> str:
    """What pydantic asks for, in plainer words."""
    message = message.removeprefix("Input should be ").removeprefix("Value error, ")
    for theirs, ours in _PLAINER.items():
        if message.startswith(theirs):
            return ours + message.removeprefix(theirs) * theirs.endswith(" to")
    return message


def joined(*names: str) -> str:
    """Names with a dot between them, without the empty ones."""
    return ".".join(name for name in names if name)
