"""A real headless Chromium for tests of pages; they are skipped where there is none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


def chromium() -> str:
    """The program, or skip."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("needs Chromium (apt-get install chromium), which is not here")
    return found


def dump_dom(address: str) -> str:
    """The HTML of a page after its scripts have run."""
    program = chromium()
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                *(program, *FLAGS, f"--user-data-dir={profile}"),
                *("--virtual-time-budget=3000", "--dump-dom", address),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    return done.stdout


def screenshot(address: str, path: Path, width: int = 1200, height: int = 900) -> None:
    """A PNG of a page."""
    program = chromium()
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *(program, *FLAGS, f"--user-data-dir={profile}"),
                *(f"--window-size={width},{height}", "--virtual-time-budget=3000"),
                *(f"--screenshot={path}", address),
            ],
            capture_output=True,
            timeout=120,
            check=True,
        )
