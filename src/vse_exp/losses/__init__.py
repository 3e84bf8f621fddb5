"""Contrastive losses: `loss(images, captions, image_ids)` of embeddings (B, d) to a scalar."""

from vse_exp.losses.hinge import HingeLoss

__all__ = ["HingeLoss"]
