"""The one exception type for mistakes that a user can make and mend."""

from __future__ import annotations

import unicodedata


class UserError(Exception):
    """A user's mistake, told in one sentence: what is wrong, where, and what to do.

    Entry points print the message on standard error and exit with status 1, without a traceback.
    """


class SweepError(UserError):
    """What is wrong with every job of a sweep, which therefore ends."""


class Interrupted(Exception):
    """A run was stopped by a signal after it had saved; the same command goes on with it.

    Entry points print the message and exit with status 75.
    """


def printable(text: str) -> str:
    """`text` in one line without control characters, which a terminal would obey."""
    one_line = " ".join(text.split())
    return "".join("�" if unicodedata.category(mark) == "Cc" else mark for mark in one_line)
