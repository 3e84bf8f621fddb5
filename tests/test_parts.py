"""Parts from config nodes: types, ranges, unknown keys, and what a file may not ask for."""

from __future__ import annotations

import copy
import sys
from typing import Literal

import pytest

from vse_exp.errors import UserError
from vse_exp.parts import Part, build, check, is_part, locate, part_spec
from vse_exp.schema import Share, Size


class Inner(Part):
    def __init__(self, dim: int, *, share: Share = 0.0) -> None:
        self.dim, self.share = dim, share


class Outer(Part):
    def __init__(
        self,
        dim: int,
        *,
        inner: Leaf | None = None,
        size: Size = 3,
        kind: Literal["a", "b"] = "a",
        on: bool = False,
        rate: float | None = None,
    ) -> None:
        self.dim, self.inner, self.size, self.on, self.rate = dim, inner, size, on, rate
        self.kind = kind


class Leaf(Part):
    def __init__(self, *, share: Share = 0.0) -> None:
        self.share = share


HERE = __name__


def node(name: str, **keys: object) -> dict[str, object]:
    return {"_target_": f"{HERE}.{name}", **keys}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


def absent() -> None:
    raise ModuleNotFoundError("Try pip install it")


def test_a_library_that_is_not_there_is_one_sentence():
    with pytest.raises(UserError, match=r"absent cannot be built here: Try pip"):
        build(node("absent"))


def test_a_part_is_built_with_its_parts_and_its_node_builds_it_again():
    made = build(node("Outer", inner=node("Leaf", share=0.5), on="no"), 7)
    assert (made.dim, made.size, made.on, made.inner.share) == (7, 3, False, 0.5)
    told = part_spec(made)
    assert told == node(
        "Outer", inner=node("Leaf", share=0.5), size=3, kind="a", on=False, rate=None
    )
    assert part_spec(build(told, 7, trust=[HERE])) == told


def test_a_part_made_by_hand_tells_what_makes_it_again():
    made = Outer(7, inner=Leaf(share=0.5), kind="b")
    assert part_spec(build(part_spec(made), 7)) == part_spec(made)
    waiting = build(node("Outer", size=5))  # a function of what the program gives
    assert part_spec(waiting(7)) == part_spec(Outer(7, size=5))
    assert part_spec(copy.deepcopy(made)) == part_spec(made)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"sise": 2}, "Unknown key model.part.sise: did you mean model.part.size?"),
        ({"dim": 2}, "Unknown key model.part.dim"),
        ({"size": 0}, "model.part.size=0 must be at least 1."),
        ({"size": 1.5}, "model.part.size=1.5 must be a whole number."),
        ({"size": True}, "model.part.size=true must be a number."),
        ({"size": None}, "model.part.size=null must be a whole number."),
        ({"kind": "c"}, "model.part.kind=c must be 'a' or 'b'."),
        ({"on": "maybe"}, "model.part.on=maybe must be true or false."),
        ({"rate": float("nan")}, "model.part.rate=nan must be a finite number."),
        ({"rate": "abc"}, "model.part.rate=abc must be a number."),
        ({"inner": {"_target_": "no.such.Thing"}}, "model.part.inner._target_=no.such.Thing is"),
        ({"inner": node("Leaf", share=1)}, "model.part.inner.share=1 must be less than 1."),
        ({"inner": node("Leaf", shore=1)}, "did you mean model.part.inner.share?"),
    ],
)
def test_a_mistake_is_one_sentence(keys, sentence):
    for attempt in (lambda: check(node("Outer", **keys), "model.part"),
                    lambda: build(node("Outer", **keys), 1, where="model.part")):  # fmt: skip
        with pytest.raises(UserError) as told:
            attempt()
        assert sentence in str(told.value)


def test_checking_fills_in_all_keys_and_builds_nothing():
    found = check(node("Outer", inner=node("Leaf"), rate=1), "x")
    assert found["size"] == 3
    assert found["inner"] == node("Leaf", share=0.0)
    assert found["rate"] == 1.0
    assert is_part(found)


def test_classes_of_others_take_all_their_names_and_partial_ones_the_rest_later():
    made = build({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1e-3, "fused": "no"})
    assert made.keywords == {"lr": 1e-3, "fused": False}
    with pytest.raises(UserError, match=r"did you mean optimizer\.lr\?"):
        build({"_target_": "torch.optim.AdamW", "_partial_": True, "lrr": 1}, where="optimizer")
    with pytest.raises(UserError, match=r"optimizer\._partial_=no must be true or false"):
        build({"_target_": "torch.optim.AdamW", "_partial_": "no"}, where="optimizer")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "vse_exp.data.scenes.__main__.main",
        "vse_exp.train.main",
        "vse_exp.models.checkpoint.load_model",
        "vse_exp.models.pretrained_text.Path",
        "vse_exp.text.vocabulary.Counter",
        "vse_exp.models.bow.os.system",
        "evil_package.sub.Encoder",
        f"{HERE}.Leaf",
    ],
)
def test_a_file_gets_no_class_but_parts_of_ours(target, monkeypatch, tmp_path):
    package = tmp_path / "evil_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="The file asks for"):
        locate(target, trust=[])
    assert "evil_package" not in sys.modules


def test_a_trusted_package_is_built_and_no_other_of_a_like_name():
    assert build(node("Leaf"), trust=[HERE]).share == 0
    with pytest.raises(UserError, match=r"trust=\["):
        build(node("Leaf"), trust=[HERE[:-1]])
