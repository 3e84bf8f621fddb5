"""An entry point called as from the command line, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest


def run_command(
    command: Callable[[], None], *arguments: str, capsys: pytest.CaptureFixture, code: int = 0
) -> Any:
    """What it prints, as `out` and `err`; it must end with `code`."""
    before = sys.argv
    sys.argv = [command.__module__, *arguments]
    try:
        if code:
            with pytest.raises(SystemExit) as ended:
                command()
            assert ended.value.code == code
        else:
            command()
        return capsys.readouterr()
    finally:
        sys.argv = before
