"""Contrastive losses, a file each; their base is in contrast.py."""

from vse_exp.losses.captions import CaptionContrastLoss
from vse_exp.losses.collapse import CollapseDetector
from vse_exp.losses.contrast import ContrastiveLoss, Past
from vse_exp.losses.gradient_cache import encode_in_chunks
from vse_exp.losses.hardest import HardestHingeLoss
from vse_exp.losses.hinge import HingeLoss
from vse_exp.losses.infonce import InfoNCELoss
from vse_exp.losses.queue import QueuedLoss
from vse_exp.losses.siglip import SigmoidLoss
from vse_exp.losses.teaching import DistillationLoss, SoftTargetsLoss, StructureLoss
from vse_exp.losses.weighted import WeightedSum

__all__ = [
    "CaptionContrastLoss",
    "CollapseDetector",
    "ContrastiveLoss",
    "DistillationLoss",
    "HardestHingeLoss",
    "HingeLoss",
    "InfoNCELoss",
    "Past",
    "QueuedLoss",
    "SigmoidLoss",
    "SoftTargetsLoss",
    "StructureLoss",
    "WeightedSum",
    "encode_in_chunks",
]
