"""Imported once, in the process from which those of `forks` are forked."""

import contextlib

import vse_exp.evaluate
import vse_exp.retrieval
import vse_exp.train
import vse_exp.training.fit  # noqa: F401

with contextlib.suppress(ImportError):
    import torchvision  # noqa: F401
