"""Imported once, in the process from which those of `forks` are forked."""

import vse_exp.evaluate
import vse_exp.retrieval
import vse_exp.train
import vse_exp.training.fit  # noqa: F401

try:
    import torchvision  # noqa: F401
except ImportError:
    pass
