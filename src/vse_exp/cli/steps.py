"""A verb that runs others, each told as it could be typed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

_PLAIN = re.compile(r"[\w./:+@-]+( [\w./:+@-]+)*")


def run_step(name: str, arguments: list[str]) -> None:
    """One verb, told; its failure is the end of this program too, with its exit status."""
    print(f"$ {typed(name, arguments)}", flush=True)
    ended = subprocess.run([sys.executable, "-m", f"vse_exp.{name}", *arguments], check=False)
    if ended.returncode:
        sys.exit(ended.returncode if ended.returncode > 0 else 128 - ended.returncode)


def typed(name: str, arguments: list[str]) -> str:
    """A verb as one types it in a shell."""
    return shlex.join(["python", "-m", f"vse_exp.{name}", *arguments])


def keys(**values: object) -> list[str]:
    """Arguments with values that Hydra's grammar takes as they are."""
    from vse_exp.retrieval.queries import verbatim

    return [
        f"{key}={value}" if _PLAIN.fullmatch(str(value)) else verbatim(f"{key}={value}", key)
        for key, value in values.items()
    ]
