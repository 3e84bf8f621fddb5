"""Typed keys: what a config may hold, checked once, each mistake told in one sentence."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

from vse_exp.errors import UserError
from vse_exp.moved import joined, unknown_key

Share = Annotated[float, Field(ge=0, lt=1)]
"""A share of something that training drops."""
Size = Annotated[int, Field(ge=1, lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
UpToOne = Annotated[float, Field(gt=0, le=1)]
"""A margin, or a power that values are raised to."""
NonNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Runtime = Literal["torch", "onnx"]


def form(pattern: str, wanted: str) -> AfterValidator:
    """For a text in which `pattern` is found; `wanted` says in words what it has to be."""

    def validate(text: str) -> str:
        if not re.search(pattern, text):
            raise ValueError(wanted)
        return text

    return AfterValidator(validate)


@contextmanager
def told_in_full() -> Iterator[None]:
    """In a validator: a UserError becomes one of pydantic's mistakes, and is told as it stands."""
    try:
        yield
    except UserError as error:
        raise PydanticCustomError("told", "{sentence}", {"sentence": str(error)}) from error


MISSING = "???"
"""What stands in a config for a value that has to be given."""
_PLAINER = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "a text",
    "a valid list": "a list, [a, b]",
    "a valid dictionary": "a mapping, {key: value}",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "string should have at least 1 character": "a text that is not empty",
    "list should have at least 1 item after validation, not 0": "a list that is not empty",
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

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """These keys of values that have been checked, those of others left out."""
        return cls.model_construct(**{key: values[key] for key in cls.model_fields})


def checked(schema: type[BaseModel], values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """`values` with the types that `schema` says, `no` and `off` as false among them.

    `where` is the key that holds them, for messages. UserError names the first wrong key.
    """
    known = schema.model_fields
    unknown = [key for key in values if key not in known]
    if unknown and schema.model_config.get("extra") == "forbid":
        raise unknown_key(unknown[0], known, where, values)
    missing = [joined(where, key) for key, value in values.items() if value == MISSING]
    if missing:
        raise UserError(f"{missing[0]}=… is required and was not given.")
    for key, value in values.items():  # true is 1 to pydantic
        if isinstance(value, bool) and key in known and _is_number(known[key].annotation):
            raise UserError(f"{joined(where, key)}={str(value).lower()} must be a number.")
    nested = {
        key: _checked_inside(known[key].annotation, value, joined(where, key))
        for key, value in values.items()
        if key in known and isinstance(value, Mapping)
    }
    try:
        found = schema.model_validate({**values, **nested}, context={"where": where})
    except ValidationError as error:
        raise UserError(_sentence(error, where)) from None
    result = {key: getattr(found, key) for key in known}
    result |= found.model_extra or {}
    for key, value in result.items():
        if isinstance(value, BaseModel) or (key in nested and schema_in(known[key].annotation)):
            result[key] = nested[key]
    return result


def _is_number(annotation: Any) -> bool:
    """Whether a type admits numbers, and neither true nor false."""
    types = set(_alternatives(annotation))
    return bool(types & {int, float}) and not types & {bool, str, Any}


def _alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _alternatives(one)
    else:
        yield annotation


def _checked_inside(annotation: Any, values: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """A mapping as the schema of its own says, where the key's type names one, or one for all of
    its values."""
    schema = schema_in(annotation)
    if schema is None:
        return values
    if schema in get_args(annotation) or schema is annotation:
        return checked(schema, values, where)
    return {
        key: checked(schema, value, joined(where, key)) if isinstance(value, Mapping) else value
        for key, value in values.items()
    }


def holds_keys(annotation: Any) -> bool:
    """Whether a type is a mapping or a schema."""
    return schema_in(annotation) is not None or get_origin(annotation) is dict


def schema_in(annotation: Any) -> type[Keys] | None:
    """The schema that a type is, holds, or has for the values of a mapping."""
    if inspect.isclass(annotation) and issubclass(annotation, Keys):
        return annotation
    return next(filter(None, map(schema_in, get_args(annotation))), None)


def parameters_of(make: Callable[..., Any]) -> list[inspect.Parameter]:
    """What a function or class takes. Of a class by its `__init__`, own or inherited: Python before
    3.11.4 looked at an inherited `__new__` first."""
    init = getattr(make, "__init__", None)
    if inspect.isclass(make) and inspect.isfunction(init):
        return list(inspect.signature(init).parameters.values())[1:]
    return list(inspect.signature(make).parameters.values())


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
    parameters = parameters_of(part)
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
    name, *inside = first["loc"]
    key = joined(where, str(name)) + "".join(f"[{one}]" for one in inside if isinstance(one, int))
    if first["type"] == "told":
        return first["msg"]
    if first["type"] == "missing":
        return f"{key}=… is required and was not given."
    same = [one for one in faults if one["loc"][:1] == first["loc"][:1]]
    wanted = " or ".join(dict.fromkeys(_wanted(one["msg"]) for one in same))
    value = first["input"]
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
    shown = " ".join(str(shown).split())
    return f"{key}={shown[:60]}{'…' * (len(shown) > 60)} must be {wanted}."


def _wanted(message: str) -> str:
    """What pydantic asks for, in plainer words."""
    message = message.removeprefix("Input should be ").removeprefix("Value error, ")
    for theirs, ours in _PLAINER.items():
        if message.lower().startswith(theirs):
            return ours + message[len(theirs) :] * theirs.endswith(" to")
    return message
