"""Contrastive losses: `loss(images, captions, image_ids)` of embeddings (B, d) to a scalar.

Row i of both is a pair. Those that change during training have `set_progress(step, epoch)`.
"""

from vse_exp.losses.captions import CaptionContrastLoss
from vse_exp.losses.collapse import CollapseDetector
from vse_exp.losses.contrast import Past, Scheduled
from vse_exp.losses.gradient_cache import encode_in_chunks
from vse_exp.losses.hardest import HardestHingeLoss
from vse_exp.losses.hinge import HingeLoss
from vse_exp.losses.infonce import InfoNCELoss
from vse_exp.losses.queue import QueuedLoss
from vse_exp.losses.siglip import SigmoidLoss
from vse_exp.losses.weighted import WeightedSum

__all__ = [
    "CaptionContrastLoss",
    "CollapseDetector",
    "HardestHingeLoss",
    "HingeLoss",
    "InfoNCELoss",
    "Past",
    "QueuedLoss",
    "Scheduled",
    "SigmoidLoss",
    "WeightedSum",
    "encode_in_chunks",
]
