"""Pickles that are data are read, whatever wrote them; all others are refused and nothing runs."""

from __future__ import annotations

import copyreg
import os
import pickle
import struct
import subprocess
import time
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vse_exp.errors import UserError
from vse_exp.models.checkpoint import read_checkpoint
from vse_exp.unpickling import Holder, load_data, load_torch, utf8

DATA = OrderedDict(
    [("a", 1), ("café", [1.5, None, True, (1, 2, "x")]), ("b", {b"bytes": b"\xff", 3: 1 << 100})]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.pkl"


def refused(path: Path, content: bytes, match: str) -> str:
    path.write_bytes(content)
    with pytest.raises(UserError, match=match) as caught:
        load_data(path)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < len(str(path)) + 200
    return message


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data(path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(DATA, protocol))
    assert load_data(path) == DATA
    assert isinstance(load_data(path), OrderedDict)


def test_python_2(path: Path) -> None:
    path.write_bytes(
        b"ccollections\nOrderedDict\np1\n((lp2\n(lp3\nS'caf\\xc3\\xa9'\np4\naI2\naa(lp5\n"
        b"S'it\\'s'\naL3L\naatRp6\n."
    )
    assert load_data(path) == {"cafÃ©": 2, "it's": 3}
    assert [utf8(word) for word in load_data(path)] == ["café", "it's"]


def test_words_that_are_no_utf8_stay() -> None:
    assert utf8("caf\xe9") == "caf\xe9"
    assert utf8("日本") == "日本"


class Evil:
    """Pickled as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"dim": [x]}, lambda x: Evil(list, (x,))])
def test_calls_are_refused_by_name(path: Path, protocol: int, wrap: Any) -> None:
    marker = path.with_name("ran")
    for function, args, name in (
        (os.system, (f"touch {marker}",), r"(posix|nt)\.system"),
        (eval, (f"open({str(marker)!r}, 'w')",), r"(builtins|__builtin__)\.eval"),
        (subprocess.call, (["touch", str(marker)],), r"(subprocess|commands)\.call"),
        (getattr, ("text", "upper"), r"\w+\.getattr"),
    ):
        content = pickle.dumps(wrap(Evil(function, *args)), protocol)
        refused(path, content, rf"asks for ({name}|\w+\.list), which is not data")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"asks for os\.system"),
        (b"(S'true'\nios\nsystem\n.", r"asks for os\.system"),
        (b"(cos\nsystem\nS'true'\no.", r"asks for os\.system"),
        (b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", r"asks for os\.system"),
        # the admitted class is no way to its attributes or to its module
        (b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.", "OrderedDict.fromkeys"),
        (b"\x80\x04\x8c\x0bcollections\x8c\x03sys\x93.", r"collections\.sys"),
        (b"\x80\x04\x8c\x00\x8c\x04eval\x93.", r"asks for \.eval"),
        # a global in the memo, and one that a nested call was to make
        (b"cos\nsystem\np0\n0(S'true'\ntg0\nR.", r"asks for os\.system"),
        (b"ccollections\nOrderedDict\n(cbuiltins\neval\n(S'1'\ntRtR.", r"builtins\.eval"),
        # calls of what is data
        (b"S'text'\n)R.", "asks for a call of str"),
        (b"]p0\n)R.", "asks for a call of list"),
        (b"S'text'\n)\x81.", "asks for a call of str"),
        (b"(I2\nI3\no.", "asks for a call of int"),
        (b"ccollections\nOrderedDict\n)}\x92.", "asks for NEWOBJ_EX"),
        # attributes of the admitted class, of what it makes, and of data
        (b"ccollections\nOrderedDict\n}S'x'\nI1\nsb.", "asks for attributes of function"),
        (b"ccollections\nOrderedDict\n)R}S'items'\nI1\nsb.", "attributes of OrderedDict"),
        (b"ccollections\nOrderedDict\nS'x'\nI1\ns.", "asks for items of function"),
        (b"]I0\nI1\ns.", "asks for items of list"),
        (b"}N}S'__class__'\nI1\ns\x86b.", "asks for attributes of dict"),
        # objects from elsewhere
        (b"Pname\n.", "asks for PERSID"),
        (b"I1\nQ.", "asks for BINPERSID"),
        (b"\x97.", "asks for NEXT_BUFFER"),
        (b"\x8f(I1\n\x90.", "asks for EMPTY_SET"),
        (b"(I1\n\x91.", "asks for FROZENSET"),
        # names that would write on a terminal
        (b"c\x1b[2J\nx\r\n.", r"asks for \?\[2J\.x\?"),
        (b"c" + b"x" * 10_000 + b"\ny\n.", "asks for x{100}, which"),
        # keys whose hash is never done
        (b"}N\x85" + b"2\x86" * 100 + b"Ns.", "dictionary with a tuple as key"),
        (b"(N\x85" + b"2\x86" * 100 + b"Nd.", "dictionary with a tuple as key"),
        (b"}(N\x85" + b"2\x86" * 100 + b"Nu.", "dictionary with a tuple as key"),
        (b"ccollections\nOrderedDict\n((N\x85" + b"2\x86" * 100 + b"N\x86ttR.", "a tuple as key"),
        # broken streams
        (b"", "no complete pickle"),
        (b".", "no complete pickle"),
        (b"(.", "no complete pickle"),
        (b"N", "no complete pickle"),
        (b"g5\n.", "no complete pickle"),
        (b"\x80\x63N.", "no complete pickle"),
        (b"}(I1\nu.", "no complete pickle"),
        (b"I" + b"9" * 100_000 + b"\n.", "no complete pickle"),
        (b"S'\\x'\n.", "no complete pickle"),
        (b"<html>404</html>", "no complete pickle"),
    ],
)
def test_streams_by_hand(path: Path, content: bytes, match: str) -> None:
    refused(path, content, match)


def test_registered_extensions(path: Path) -> None:
    copyreg.add_extension("os", "system", 240)
    try:
        refused(path, b"\x82\xf0.", "asks for EXT1")
    finally:
        copyreg.remove_extension("os", "system", 240)


@pytest.mark.parametrize(
    "content",
    [
        pickle.BINBYTES8 + struct.pack("<Q", 1 << 45) + b"x.",
        pickle.BINUNICODE8 + struct.pack("<Q", 1 << 62) + b"x.",
        pickle.BINSTRING + struct.pack("<i", (1 << 31) - 1) + b"x.",
        pickle.LONG4 + struct.pack("<i", (1 << 31) - 1) + b"x.",
        pickle.BYTEARRAY8 + struct.pack("<Q", 1 << 33) + b"x.",
        b"\x80\x04" + pickle.FRAME + struct.pack("<Q", 1 << 62) + b"N",
        b"N" + pickle.LONG_BINPUT + struct.pack("<I", (1 << 32) - 1),
        b"Np99999999999999\n",
    ],
)
def test_lengths_that_lie_cost_no_memory(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            load_data(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_garbage_ends_soon(path: Path) -> None:
    start = time.process_time()
    for seed in range(5):
        refused(path, np.random.default_rng(seed).bytes(10 << 20), "no complete|not data")
    for opcode in (b"N", b"(", b"}"):
        refused(path, opcode * (1 << 20), "no complete")
    assert time.process_time() - start < 30


def test_files_too_large_are_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on disk
    with pytest.raises(UserError, match="larger than such a file can be"):
        load_data(path)


def test_truncated_files(path: Path) -> None:
    for protocol in (0, 2, 5):
        content = pickle.dumps({"dim": 64, "x": [1.5]}, protocol)
        for length in range(len(content)):
            refused(path, content[:length], "no complete pickle")


def test_depth(path: Path) -> None:
    depth = 200_000
    path.write_bytes(b"]" * depth + b"a" * (depth - 1) + b".")
    found = load_data(path)
    for _ in range(depth - 1):
        (found,) = found
    assert found == []


def test_lists_that_hold_themselves(path: Path) -> None:
    path.write_bytes(b"]p0\ng0\na.")
    found = load_data(path)
    assert found[0] is found


def test_missing_files(path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read"):
        load_data(path)
    with pytest.raises(UserError, match="Cannot read"):
        load_data(path.parent)


class Point:
    pass


def test_stand_ins_take_the_state_and_do_nothing(path: Path) -> None:
    point = Point()
    point.x = 3
    name = (Point.__module__, "Point")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(point, protocol))
        found = load_data(path, {name: Holder})
        assert type(found) is Holder
        assert found.state == {"x": 3}
        with pytest.raises(UserError, match="Point, which is not data"):
            load_data(path)


def test_torch_files(path: Path) -> None:
    content = {"weights": torch.arange(3), "words": ["a"], "note": None}
    torch.save(content, path)
    found = load_torch(path)
    assert found["weights"].tolist() == [0, 1, 2]
    assert (found["words"], found["note"]) == (["a"], None)
    marker = path.with_name("ran")
    torch.save({"x": Evil(os.system, f"touch {marker}")}, path)
    with pytest.raises(UserError, match=r"asks for (posix|nt)\.system, which is not data"):
        load_torch(path)
    assert not marker.exists()
    torch.save(content, path)
    for broken in (path.read_bytes()[:200], b"", b"noise", pickle.dumps(content["words"])):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="no readable checkpoint") as caught:
            load_torch(path)
        # torch's own words advise to load without a check
        assert "weights_only" not in str(caught.value)
        assert str(caught.value).isprintable()


def test_a_flipped_bit_in_a_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"vse_exp": {}, "state_dict": {"w": torch.arange(1000.0)}}, path)
    read_checkpoint(path)
    content = bytearray(path.read_bytes())
    content[content.find(torch.arange(1000.0).numpy().tobytes()) + 2001] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.ckpt is damaged \(a/data/0\)"):
        read_checkpoint(path)
