"""The LightningDataModule: splits, vocabulary and loaders, all from the `data` group."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from vse_exp.data.dealing import Dealer
from vse_exp.data.layout import Pools
from vse_exp.data.layouts import Split
from vse_exp.data.loading import (
    PairBatch,
    ResumableLoader,
    caption_loader,
    image_loader,
    loader_options,
)
from vse_exp.data.opening import find_layout, load_split_from_config
from vse_exp.data.streaming import StreamLoader, stream_loader
from vse_exp.device import spare_processors
from vse_exp.errors import UserError
from vse_exp.images.preprocessing import Preparation
from vse_exp.images.provenance import require_compatible
from vse_exp.images.rows import Images
from vse_exp.parts import build
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary

log = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")
SHARE = 0.3
"""Of the device's free memory, what training features may take unasked."""
MOST_WORKERS = 8
"""Unasked."""


class RetrievalDataModule(LightningDataModule):
    """Serves length-bucketed training pairs, and images and captions alone for evaluation.

    `config` is the `data` group as a plain mapping (keys documented in `conf/data/base.yaml`);
    `vocabulary(words)` is what captions are read in, where `words()` are those of the data, and
    None these themselves;
    `preprocessing` is that of a model that takes pictures instead of features.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        seed: int = 0,
        vocabulary: Callable[[Callable[[], Vocabulary]], Vocabulary] | None = None,
        preprocessing: Preparation | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self._read_in = vocabulary
        self.preprocessing = preprocessing
        self._splits: dict[str, Split] = {}
        self._tokenized: dict[str, TokenizedCaptions] = {}
        self._images: Images | None = None
        self._train_loader: ResumableLoader | StreamLoader | None = None
        self._resume_at: dict[str, Any] | None = None

    def setup(self, stage: str) -> None:
        """Read and check all splits before training begins. UserError where images differ."""
        shapes = {name: self.split(name).image_features.shape[1:] for name in SPLITS}
        for name, shape in shapes.items():
            if shape[-1] != shapes["train"][-1]:
                raise UserError(
                    f"{self.split(name).files.features} has rows of shape {shape}, and the "
                    f"training images {shapes['train']}: extract all splits by one backbone."
                )

    def split(self, name: str) -> Split:
        """The split `name`, read at its first use; of `pools` a sample."""
        if name not in self._splits:
            if name == "train" and self.pools is not None:
                split = self.pools.sample()
            else:
                split = load_split_from_config(self.config, name, self.preprocessing)
            if not (split.unit_norm or self.config["normalize_features"]):
                log.warning(
                    "%s: the feature rows do not have unit norm; data.normalize_features=true "
                    "makes them so.",
                    split.files.features,
                )
            self._splits[name] = split
            if name != "train":
                require_compatible(
                    self.provenance,
                    split.provenance,
                    bool(self.config["allow_feature_mismatch"]),
                    "data.allow_feature_mismatch",
                )
        return self._splits[name]

    @cached_property
    def provenance(self) -> dict[str, Any] | None:
        """How the training images' features were made; None where not known, and for pictures."""
        return self.split("train").provenance

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return self._words() if self._read_in is None else self._read_in(self._words)

    def _words(self) -> Vocabulary:
        options = dict(self.config["vocabulary"])
        file = options.pop("file")
        if file is not None:
            tokenizer = build(options["tokenizer"], where="data.vocabulary.tokenizer")
            return Vocabulary.of_file(file, tokenizer, options["prefix"])
        splits = [self.split(name) for name in options.pop("splits")]
        captions = [caption for split in splits for caption in split.captions]
        tokenizer = build(options.pop("tokenizer"), where="data.vocabulary.tokenizer")
        return Vocabulary.build(captions, tokenizer, **options)

    def tokenized(self, name: str) -> TokenizedCaptions:
        """The captions of split `name` as ids."""
        if name not in self._tokenized:
            self._tokenized[name] = self.vocabulary.encode(self.split(name).captions)
        return self._tokenized[name]

    @cached_property
    def pools(self) -> Pools | None:
        """The training pairs where they are more than memory holds; None: the split `train`."""
        layout, normalize = find_layout(self.config), self.config["normalize_features"]
        return None if layout is None else layout.pools(self.preprocessing, normalize, self.seed)

    def train_dataloader(self) -> ResumableLoader | StreamLoader:
        share = {"rank": self._rank, "world_size": self._world_size}
        deal = Dealer(self.config, self.vocabulary, self.seed, **share)
        if self._images is None:
            self._images = self._training_images(deal)
        workers = self._workers(self._images, training=True)
        if self.pools is not None:
            if self._train_loader is None:  # which goes on from epoch to epoch
                ids = self.tokenized("train")
                self._train_loader = stream_loader(self.pools, deal, workers, ids)
        else:
            pairs, sampler = deal(self.split("train"), self.tokenized("train"), self._images)
            if self.trainer is not None:
                # the number of batches may differ between epochs (captions_per_epoch)
                sampler.set_epoch(self.trainer.current_epoch)
            self._train_loader = ResumableLoader(pairs, sampler, **loader_options(workers))
        if self._resume_at is not None:
            self._train_loader.load_state_dict(self._resume_at)
            self._resume_at = None
        return self._train_loader

    def _training_images(self, deal: Dealer) -> Images:
        """Those of the training split, on the device where the key `on_device` says so and they
        are features of which it has the room. UserError where it says so and they are not."""
        images, wanted = deal.images(self.split("train")), self.config["on_device"]
        unasked, there = wanted == "auto", None
        if wanted and not self.pools and not (unasked and self._device.type == "cpu"):
            there = images.on_device(self._device, SHARE if unasked else None)
        if there is None and wanted is True:
            raise UserError(
                "data.on_device=true is for image features in one file: set it to auto or false."
            )
        return there or images

    def _workers(self, images: Images, training: bool = False) -> int:
        """Processes that make batches: as many as `num_workers` says, else some where a GPU would
        wait for features, or anything for pictures."""
        if self.config["num_workers"] is not None or self.pools is not None:
            return self.config["num_workers"] or 0  # on which the order of pools depends
        ahead = training and images.fetched and self._device.type != "cpu"
        return min(MOST_WORKERS, spare_processors()) if images.slow or ahead else 0

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, PairBatch) and self._images is not None:
            images = self._images.arrived(batch.images)
            if self.trainer is not None:  # which has converted what is no longer the same
                images = self.trainer.precision_plugin.convert_input(images)
            return batch._replace(images=images)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where the training loader stands, for Lightning's checkpoints.

        Lightning asks the loader itself too, but only hands its state back where the loader was
        not needed earlier (a schedule that asks for the number of updates needs it).
        """
        return {} if self._train_loader is None else {"train": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._resume_at = state_dict.get("train")

    def val_dataloader(self) -> list[DataLoader]:
        return self.evaluation_loaders("dev")

    def test_dataloader(self) -> list[DataLoader]:
        return self.evaluation_loaders("test")

    def evaluation_loaders(self, name: str) -> list[DataLoader]:
        """All images of a split, then all its captions; each process gets its own share."""
        split, size = self.split(name), self.config["eval_batch_size"]
        share = {"rank": self._rank, "world_size": self._world_size}
        return [
            image_loader(split, size, num_workers=self._workers(split.image_features), **share),
            caption_loader(split, self.tokenized(name), size, **share),
        ]

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world_size(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1
