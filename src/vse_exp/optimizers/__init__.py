"""Optimisers, clipping and schedules that torch does not have as they are wanted here."""

from vse_exp.optimizers.gradients import DenseGradients, clip_grad_norm
from vse_exp.optimizers.groups import build_optimizer
from vse_exp.optimizers.lazy_adam import LazyAdam
from vse_exp.optimizers.original_adam import OriginalAdam
from vse_exp.optimizers.schedules import cosine, step_down

__all__ = [
    "DenseGradients",
    "LazyAdam",
    "OriginalAdam",
    "build_optimizer",
    "clip_grad_norm",
    "cosine",
    "step_down",
]
