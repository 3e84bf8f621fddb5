"""Pickles of strangers, read as plain data: nothing in them is ever called."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from vse_exp.errors import UserError

LARGEST = 512 << 20
"""Bytes of a pickle beyond which it is not read."""

Classes = Mapping[tuple[str, str], Callable[..., Any]]


_FORBIDDEN = {
    pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4,
    pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
}  # fmt: skip
"""Opcodes that no model needs: objects from elsewhere, and buffers of any size at once."""


class _Refused(Exception):
    """A pickle asks for something that is not plain data."""


class DataUnpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """Admits OrderedDict, the plain types that pickle builds itself, and `classes`.

    The Python implementation, because the C one allocates as much as a memo number or a length in
    the stream asks for, and because here opcodes can be taken away.
    """

    dispatch: ClassVar = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()  # type: ignore[attr-defined]
        if bytes([code]) not in _FORBIDDEN
    }

    def __init__(self, file: io.BytesIO, classes: Classes) -> None:
        super().__init__(file, encoding="latin1")
        self.classes = {("collections", "OrderedDict"): OrderedDict, **classes}

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return self.classes[module_name, global_name]
        except KeyError:
            raise _Refused(f"{module_name}.{global_name}") from None


def load_data(path: str | os.PathLike[str], classes: Classes | None = None) -> Any:
    """The content of a pickle file, of any protocol, also Python 2's (its str as Latin-1).

    `classes` maps further (module, name) pairs to harmless stand-ins. Raises UserError for a file
    that is missing, broken or too large, and, by name, for anything but data.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than any pickle of a model: it is not read.")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        return DataUnpickler(io.BytesIO(content), classes or {}).load()
    except _Refused as error:
        raise UserError(f"{path} asks for {error}, which is not data: it was not loaded.") from None
    except Exception as error:  # a broken stream can raise nearly anything
        reason = (str(error) or type(error).__name__).splitlines()[0][:100]
        raise UserError(f"{path} is no complete pickle ({reason}).") from error


def utf8(text: str) -> str:
    """A Python 2 byte string that was read as Latin-1, decoded as the UTF-8 it was."""
    try:
        return text.encode("latin1").decode("utf-8")
    except UnicodeError:
        return text
