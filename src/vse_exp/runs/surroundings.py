"""What a run runs in: versions, the source tree, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("vse_exp", "torch", "lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy")


def surroundings() -> dict[str, Any]:
    """The versions of all that a run's figures may depend on, for `about.json`."""
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def peak_memory() -> dict[str, int]:
    """The largest memory of this process so far, in MB: resident, and of a GPU where one is."""
    import torch  # not by everybody who reads a folder

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"peak_memory_mb": round(peak / (1e6 if sys.platform == "darwin" else 1e3))}
    if torch.cuda.is_available():
        found["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return found


def git(*arguments: str) -> str | None:
    """What git says of the source tree of this package; None outside a checkout."""
    source = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
