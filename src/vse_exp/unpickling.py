"""Pickles of strangers, read as plain data: nothing in them is ever called."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from vse_exp.errors import UserError

LARGEST = 16 << 20
"""Bytes of a pickle beyond which it is not read: each byte can ask for some hundred of memory."""

_PLAIN = """
    PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE
    GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT
    GLOBAL STACK_GLOBAL INST OBJ
""".split()
"""Opcodes that are read as the standard library does; others are refused, or stand below."""
_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_KEYS = (str, bytes, int, float, type(None))
"""Kinds of dictionary keys. Hashing a tuple could take for ever: it may hold itself many times."""

Classes = Mapping[tuple[str, str], Callable[..., Any]]


class Holder:
    """Stands for an object: the arguments it was to be made of, and the state it was to get."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None


class _Refused(Exception):
    """A pickle asks for something that is not plain data."""


class _Opcodes(dict[int, Callable[..., None]]):
    def __missing__(self, code: int) -> Callable[..., None]:
        if code not in _NAMES:
            raise ValueError(f"{code:#04x} begins nothing")
        raise _Refused(_NAMES[code])


_Unpickler: Any = pickle._Unpickler
"""The Python implementation, because the C one allocates as much as a memo number or a length in
the stream asks for, and because of this one opcodes can be taken away."""


class _DataUnpickler(_Unpickler):
    """Builds plain types, OrderedDict, and what `classes` name."""

    dispatch: ClassVar = _Opcodes(
        (code, _Unpickler.dispatch[code]) for code in (getattr(pickle, name)[0] for name in _PLAIN)
    )

    def __init__(self, file: io.BytesIO, classes: Classes) -> None:
        super().__init__(file, encoding="latin1")
        self.classes = {("collections", "OrderedDict"): _ordered_dict, **classes}

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return self.classes[module_name, global_name]
        except KeyError:
            raise _Refused(f"{module_name}.{global_name}") from None

    def _instantiate(self, klass: Any, args: Iterable[Any]) -> None:
        if not any(klass is admitted for admitted in self.classes.values()):
            raise _Refused(f"a call of {type(klass).__name__}")
        self.append(klass(*args))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self._instantiate(self.stack.pop(), args)

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Holder):
            raise _Refused(f"attributes of {type(self.stack[-1]).__name__}")
        self.stack[-1].state = state

    dispatch[pickle.BUILD[0]] = load_build

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(dict(_checked(zip(items[::2], items[1::2], strict=True))))

    dispatch[pickle.DICT[0]] = load_dict

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([(key, value)])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._update(zip(items[::2], items[1::2], strict=True))

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def _update(self, items: Iterable[tuple[Any, Any]]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise _Refused(f"items of {type(self.stack[-1]).__name__}")
        self.stack[-1].update(_checked(items))


def _ordered_dict(items: Iterable[tuple[Any, Any]] = ()) -> dict[Any, Any]:
    return OrderedDict(_checked(items))


def _checked(items: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    for key, value in items:
        if not isinstance(key, _KEYS):
            raise _Refused(f"a dictionary with a {type(key).__name__} as key")
        yield key, value


def load_data(
    path: str | os.PathLike[str], classes: Classes | None = None, largest: int = LARGEST
) -> Any:
    """The content of a pickle file, of any protocol, also Python 2's (its str as Latin-1).

    `classes` maps further (module, name) pairs to harmless stand-ins such as `Holder`. Raises
    UserError for a file that is missing, broken or larger than `largest` bytes, and, by name, for
    anything but None, bool, numbers, str, bytes, list, tuple, dict and OrderedDict.
    """
    path = Path(path)
    try:
        if path.stat().st_size > largest:
            raise UserError(f"{path} is larger than such a file can be: it is not read.")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        return _DataUnpickler(io.BytesIO(content), classes or {}).load()
    except _Refused as error:
        raise UserError(
            f"{path} asks for {_shown(str(error))}, which is not data: it was not loaded."
        ) from None
    except Exception as error:  # a broken stream can raise nearly anything
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} is no complete pickle ({_shown(reason)}).") from error


def load_torch(path: str | os.PathLike[str], classes: Iterable[type] = ()) -> Any:
    """The content of a torch file, on the CPU: tensors and data.

    `classes` are further ones that may be made, if they do no more than take attributes. Raises
    UserError for a broken file and, by name, for one that asks for more.
    """
    try:
        with torch.serialization.safe_globals(list(classes)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        # its own advice, to load without a check, is not passed on
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked:
            raise UserError(
                f"{path} asks for {asked[1]}, which is not data: it was not loaded."
            ) from None
        wrong = re.search(r"WeightsUnpickler error: *(.*)", str(error))
        reason = (wrong[1] if wrong else str(error)) or type(error).__name__
        raise UserError(
            f"{path} is no readable checkpoint ({_shown(reason)}): is it complete?"
        ) from error


def check_sums(path: str | os.PathLike[str]) -> None:
    """UserError where a bit of a torch file is not as it was written: torch does not look at the
    checksums in its archives. Files that are none are left to `load_torch`."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # headers of damaged archives say anything
        damaged = str(error)
    if damaged:
        raise UserError(f"{path} is damaged ({_shown(damaged)}): copy or write it again.")


def _shown(text: str) -> str:
    """A stranger's text, short and without line ends or a terminal's control codes."""
    return "".join(c if c.isprintable() else "?" for c in text[:100])


def utf8(text: str) -> str:
    """A Python 2 byte string that was read as Latin-1, decoded as the UTF-8 it was."""
    try:
        return text.encode("latin1").decode("utf-8")
    except UnicodeError:
        return text
