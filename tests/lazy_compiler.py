"""Whether this torch can do without its compiler until somebody compiles."""

import inspect

from torch._compile import _disable_dynamo

MARKS_APART = "wrapping" in inspect.getsource(_disable_dynamo)
"""Else optimisers ask for the compiler as those do who compile, and bring it (torch 2.6)."""
