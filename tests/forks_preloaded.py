"""Imported once, in the process from which those of the tests are forked."""

import contextlib

import torch.distributed  # noqa: F401

import vse_exp.evaluate
import vse_exp.retrieval
import vse_exp.train
import vse_exp.training.fit  # noqa: F401

for name in ("torchvision", "ipykernel.kernelapp"):
    with contextlib.suppress(ImportError):
        __import__(name)
with contextlib.suppress(ImportError):
    from transformers import CLIPModel  # noqa: F401
