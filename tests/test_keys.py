"""Every key of every verb with values of a wrong type, sign, size, and null: one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types as limits
import pytest
from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from vse_exp.__main__ import VERBS
from vse_exp.cli import checked_config, mistakes_told
from vse_exp.cli.composing import Asked
from vse_exp.parts import is_part, locate
from vse_exp.schema import of_signature

REQUIRED = {
    "compare": ["a=a.npz", "b=b.npz"],
    "export": ["checkpoint=a.ckpt", "output=folder"],
    "convert": ["checkpoint=a.npz", "output=b.ckpt"],
    "demo": ["checkpoint=a.ckpt"],
    "embed": ["checkpoint=a.ckpt", "output=b.npy"],
    "evaluate": ["checkpoint=a.ckpt"],
    "extract": ["images=photos", "output=b_ims.npy"],
    "index": ["checkpoint=a.ckpt", "data=scenes", "output=b"],
    "photos": ["images=photos"],
    "prepare": ["source=a.csv", "name=mine"],
    "report": ["checkpoint=a.ckpt", "output=b"],
    "retrieve": ["checkpoint=a.ckpt", "data=scenes", "query=a"],
    "sweep": [],
    "train": ["paths.run_dir=run"],
}
TRAINED = [  # choices whose parts have keys of their own
    "loss=hinge", "loss=hardest_hinge", "loss=infonce", "loss=siglip", "loss=queue", "loss=sum",
    "loss=order", "loss=distilled", "loss=soft_targets", "loss=structure", "optimizer=adam",
    "optimizer=sgd", "optimizer=lazy_adam",
    "optimizer=original_adam", "scheduler=step", "scheduler=constant", "trainer=ddp",
    "callbacks=collapse", "logger=tensorboard", "data=shards",
]  # fmt: skip
ALSO = {"data=shards": ("data.name=d", "data.layout.train=t")}


def schema_of(verb: str) -> type[BaseModel]:
    """The schema that the module of a verb hands to its decorator."""
    return import_module(f"vse_exp.{verb}").main.schema


def kinds(annotation: Any, about: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """What a type admits, alternative by alternative, each with its limits."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        yield from kinds(inner, (*about, *more))
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from kinds(one, about)
    else:
        yield annotation, about


def flat(about: tuple[Any, ...]) -> list[Any]:
    return [one for item in about
            for one in (item.metadata if isinstance(item, FieldInfo) else [item])]  # fmt: skip


def wrong_values(field: FieldInfo) -> list[Any]:
    """Values that a person would call wrong for a key of that type."""
    admitted = list(kinds(field.annotation, tuple(field.metadata)))
    types = [get_origin(one) or one for one, _ in admitted]
    if any(one is Any or one is object for one in types):
        return []
    text, number = str in types, int in types or float in types
    about = [one for _, one in admitted for one in flat(one)]
    wrong: list[Any] = []
    if NoneType not in types:
        wrong.append(None)
    if not any(isinstance(one, type) and issubclass(one, (dict, BaseModel)) for one in types):
        wrong += [{"a": 1}]
    elif any(isinstance(one, type) and issubclass(one, BaseModel) for one in types):
        wrong += [{"nonsense": 1}, *([] if text else [3])]
    if not {list, tuple, set} & set(types) and not any("Sequence" in str(one) for one in types):
        wrong.append([1])
    if not text:
        wrong.append("nonsense")
    if text and any(isinstance(one, limits.MinLen) for one in about):
        wrong.append("")
    if text and any(isinstance(one, AfterValidator) for one in about):
        wrong.append("no such form!")
    if number and not text:
        if bool not in types:
            wrong.append(True)
        wrong += [math.nan, math.inf, -math.inf] if float in types else [1.5, math.nan]
        for one in about:
            if isinstance(one, limits.Ge):
                wrong.append(one.ge - 1)
            elif isinstance(one, limits.Gt):
                wrong.append(one.gt)
            elif isinstance(one, limits.Le):
                wrong.append(one.le + 1)
            elif isinstance(one, limits.Lt):
                wrong += [one.lt, 10**30]
    if bool in types and not number:
        wrong += [7, 0.5]
    return wrong


def walked(schema: type[BaseModel], values: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """All keys with all of their wrong values, and a key at each level that there is not."""
    yield f"{where}nonsense", 1
    for name, field in schema.model_fields.items():
        key = f"{where}{name}"
        value = values.get(name) if isinstance(values, dict) else None
        if field.is_required() and value is None and name not in values:
            continue
        for wrong in wrong_values(field):
            yield key, wrong
        inner = [one for one, _ in kinds(field.annotation)
                 if isinstance(one, type) and issubclass(one, BaseModel)]  # fmt: skip
        if inner and isinstance(value, dict):
            yield from walked(inner[0], value, f"{key}.")
        about = [kind[1] for kind in kinds(field.annotation, tuple(field.metadata))]
        if key == "trainer":
            yield from ((f"{key}.{one}", wrong) for one, wrong in of_lightning(value))
        elif any(isinstance(one, BeforeValidator) for one in flat(sum(about, ()))):
            yield from parts(value, key)


def of_lightning(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    from lightning.pytorch import Trainer

    yield "nonsense", 1
    for name, field in of_signature(Trainer).model_fields.items():
        yield from ((name, wrong) for wrong in wrong_values(field) if name in node)


def parts(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Of what has a `_target_`, and of what is in it."""
    yield key, 3
    if is_part(node):
        yield f"{key}._target_", "no.such.Thing"
        yield f"{key}._target_", 3
        untyped = frozenset(name for name, value in node.items() if isinstance(value, dict | list))
        found = of_signature(locate(node["_target_"]), untyped, partly=True)
        if found.model_config.get("extra") == "forbid":
            yield f"{key}.nonsense", 1
        for name, field in found.model_fields.items():
            if name in node:
                yield from ((f"{key}.{name}", wrong) for wrong in wrong_values(field))
    for name, value in (node or {}).items():
        if isinstance(value, dict):
            yield from (
                (k, v) for k, v in parts(value, f"{key}.{name}") if v != 3 or is_part(value)
            )


def told(schema: type[BaseModel], cfg: DictConfig, key: str, value: Any, capsys: Any) -> str | None:
    """What is wrong with how a wrong value is refused; None where nothing is."""
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    try:
        with mistakes_told():
            checked_config(schema, cfg)  # type: ignore[arg-type]
    except SystemExit as ended:
        lines = capsys.readouterr().err.splitlines()
        names = (key.split(".")[-1], key.split(".")[0])
        if ended.code == 1 and len(lines) == 1 and lines[0].startswith("error: "):
            return None if any(name in lines[0] for name in names) else f"names no key: {lines[0]}"
        return f"exit status {ended.code}: {lines}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


CONFIGS = [(verb, tuple(REQUIRED[verb])) for verb in VERBS if verb != "summarize"] + [
    ("train", ("paths.run_dir=run", one, *ALSO.get(one, ()))) for one in TRAINED
]


@pytest.mark.parametrize(("verb", "overrides"), CONFIGS, ids=lambda one: str(one).strip("()"))
def test_wrong_values_are_one_sentence(verb, overrides, capsys):
    schema = schema_of(verb)
    cfg = Asked(verb, schema).compose(list(overrides))  # type: ignore[arg-type]
    plain = OmegaConf.to_container(cfg)
    cases = list(walked(schema, plain))
    if verb == "train" and overrides[1:]:  # all else has been tried
        group = overrides[1].partition("=")[0]
        cases = [case for case in cases if case[0].startswith(f"{group}.")]
    faults = [(key, value, fault) for key, value in cases
              if (fault := told(schema, cfg, key, value, capsys))]  # fmt: skip
    print(f"{len(cases)} tried, {len(cases) - len(faults)} passed")
    assert not faults
    assert cases


def test_the_configs_as_they_stand_are_right():
    for verb, overrides in CONFIGS:
        schema = schema_of(verb)
        checked_config(schema, Asked(verb, schema).compose(list(overrides)))  # type: ignore[arg-type]
