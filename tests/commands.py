"""An entry point called as from the command line, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hydra._internal.hydra import Hydra


def run_command(
    command: Callable[[], None], *arguments: str, capsys: pytest.CaptureFixture, code: int = 0
) -> Any:
    """What it prints, as `out` and `err`; it must end with `code`."""
    called = mock.patch.object(sys, "argv", [command.__module__, *arguments])
    # Hydra composes each config twice: at first to see whether it asks for a multirun by itself
    with called, mock.patch.object(Hydra, "get_mode", return_value=None):
        if code:
            with pytest.raises(SystemExit) as ended:
                command()
            assert ended.value.code == code
        else:
            command()
        return capsys.readouterr()
