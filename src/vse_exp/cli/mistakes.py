"""How a command tells what went wrong: one line on standard error and an exit status."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from vse_exp.errors import Interrupted, UserError

INTERRUPTED = 75
"""Exit status of a run that was interrupted after saving: the same command goes on with it."""
NO_MEMORY = ("can't allocate memory", "out of memory")
"""What torch says when there is no more, of a CPU and of a GPU (OutOfMemoryError)."""


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End the program with one sentence where what is inside fails by no fault of ours."""
    try:
        yield
        sys.stdout.flush()
    except Interrupted as interruption:
        print(interruption, file=sys.stderr)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)  # as a shell says of a program that Ctrl-C ended
    except BrokenPipeError:  # who read the output has closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        message = user_message(error)
        if message is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(1)


def user_message(error: BaseException) -> str | None:
    """The one sentence to tell a user about `error`, or None where it is a fault of ours."""
    link: BaseException | None = error
    while link is not None:  # Hydra wraps what a constructor raises
        if isinstance(link, UserError):
            return _in_one_line(link)
        if isinstance(link, MissingMandatoryValue):
            return f"{link.full_key}=… is required and was not given."
        if isinstance(link, OmegaConfBaseException | yaml.YAMLError):
            return _in_one_line(link)
        if isinstance(link, MemoryError) or any(said in str(link).lower() for said in NO_MEMORY):
            return _no_memory(str(link))
        if isinstance(link, OSError) and link.strerror:
            named = f"{link.filename}: " if link.filename is not None else ""
            return f"{named}{link.strerror}."
        link = link.__cause__
    return None


def _no_memory(said: str) -> str:
    """Of what NumPy or torch say, how much they tried to allocate."""
    found = re.search(r"allocate (\d+) bytes|allocate ([\d.]+ [KMGT]iB)", said)
    size = "" if found is None else found[2] or f"{int(found[1]) / 2**30:.1f} GiB"
    wanted = f" for {size} at once" if size else ""
    return f"There is not enough memory{wanted}: take smaller batches, or a smaller model."


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


class _StandardError(logging.Handler):
    """Writes to what standard error is at the time, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


@contextmanager
def only_warnings() -> Iterator[None]:
    """Less is shown of the program's own log; files of runs get the whole of it."""
    shown = logging.getLogger("vse_exp").handlers[:]
    levels = [handler.level for handler in shown]
    for handler in shown:
        handler.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler, level in zip(shown, levels, strict=True):
            handler.setLevel(level)


def show_log() -> None:
    """The program's own log, from INFO on, plain on standard error."""
    logger = logging.getLogger("vse_exp")
    if not logger.handlers:
        logger.addHandler(_StandardError())
        logger.setLevel(logging.INFO)
        logger.propagate = False
    # Hydra's logging set-up, once a job, disables loggers that exist already
    for name, known in logging.root.manager.loggerDict.items():
        if name.startswith("vse_exp") and isinstance(known, logging.Logger):
            known.disabled = False
