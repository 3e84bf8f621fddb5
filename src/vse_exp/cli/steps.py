"""Arguments as they are typed, and a verb that runs others, each told so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

from vse_exp.alive import rest

_PLAIN = re.compile(r"[\w./:+@-]+( [\w./:+@-]+)*")


def run_step(name: str, arguments: list[str]) -> None:
    """One verb, told; its failure is the end of this program too, with its exit status."""
    print(f"$ {typed(name, arguments)}", flush=True)
    with rest():
        ended = subprocess.run([sys.executable, "-m", f"vse_exp.{name}", *arguments], check=False)
    if ended.returncode:
        sys.exit(ended.returncode if ended.returncode > 0 else 128 - ended.returncode)


def typed(name: str, arguments: list[str]) -> str:
    """A verb as one types it in a shell."""
    return shlex.join(["python", "-m", f"vse_exp.{name}", *arguments])


def keys(**values: object) -> list[str]:
    """Arguments with values that Hydra's grammar takes as they are."""
    return [
        f"{key}={value}" if _PLAIN.fullmatch(str(value)) else verbatim(f"{key}={value}", key)
        for key, value in values.items()
    ]


def verbatim(argument: str, key: str = "query") -> str:
    """The command-line argument `key=a sentence, typed freely` with its value quoted for Hydra.

    Values that are quoted or a list already are left as they are, and other arguments too.
    """
    name, equals, value = argument.partition("=")
    if name.strip() != key or not equals or value.lstrip()[:1] in ("[", "'", '"'):
        return argument
    # quotes and interpolations are escaped, and so are backslashes, but only those before these
    escaped = re.sub(r"(\\*)('|\$\{|\Z)", lambda m: m[1] * 2 + ("\\" + m[2] if m[2] else ""), value)
    return f"{key}='{escaped}'"
