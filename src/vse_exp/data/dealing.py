"""Which captions are together in a batch, as the group `data` says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from vse_exp.data.buckets import LengthBuckets
from vse_exp.data.layouts import Split
from vse_exp.data.loading import Captions, PairBatch, Pairs
from vse_exp.errors import UserError
from vse_exp.images.augmentation import Augmentation
from vse_exp.images.rows import Images
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dealer:
    """Deals the captions of a split into training batches, as the group `data` says.

    Captions of more than `maxlen_w` words are left out.
    """

    config: Mapping[str, Any]
    vocabulary: Vocabulary
    seed: int
    rank: int = 0
    world_size: int = 1

    def __call__(
        self,
        split: Split,
        captions: TokenizedCaptions | None = None,
        images: Images | None = None,
    ) -> tuple[Dataset[PairBatch], LengthBuckets]:
        """What gives the batch of some captions, and which captions are together.

        `captions`: those of `split` as ids, `images`: what `self.images` made of it, where these
        are at hand. UserError where all captions are too long.
        """
        ids = self.vocabulary.encode(split.captions) if captions is None else captions
        longest, caption_image = self.config["maxlen_w"], split.caption_image
        keep = self.kept(ids)
        if left_out := len(ids) - len(keep):
            level = logging.INFO if captions is not None else logging.DEBUG  # once, not a pool
            log.log(level, "%d captions of more than %d words are left out", left_out, longest)
            ids = self.vocabulary.encode([split.captions[index] for index in keep])
            caption_image = caption_image[keep]
        sampler = LengthBuckets(
            ids.lengths,
            caption_image,
            self.config["batch_size"],
            bucket_width=self.config["bucket_width"],
            unique_images=self.config["unique_images"],
            order=self.config["order"],
            captions_per_image=self.config["captions_per_epoch"],
            captions_together=self.config["captions_together"],
            drop_last=self.config["drop_last"],
            seed=self.seed,
            rank=self.rank,
            world_size=self.world_size,
        )
        return Pairs(Captions(ids, caption_image), images or self.images(split)), sampler

    def images(self, split: Split) -> Images:
        """The images of a split as training takes them."""
        augmentation = Augmentation(**self.config["augmentation"])
        return split.image_features.training(augmentation, self.seed)

    def kept(self, captions: TokenizedCaptions) -> np.ndarray:
        """Rows of those that are short enough; to these, numbered anew, batches refer."""
        longest = self.config["maxlen_w"]
        if longest is None:
            return np.arange(len(captions))
        keep = np.flatnonzero(self.vocabulary.word_counts(captions) <= longest)
        if len(keep) == 0:
            raise UserError(f"No caption has data.maxlen_w={longest} words or fewer: raise it.")
        return keep
