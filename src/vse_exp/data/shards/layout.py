"""The layout `shards`: training pairs from many tars or Parquet files, more than memory holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vse_exp.data.layout import Layout, Pools
from vse_exp.data.layouts import Split
from vse_exp.data.places import expand
from vse_exp.data.scenes.build import cache_folder
from vse_exp.data.shards.blocks import Block, Examples, find_blocks, read_block
from vse_exp.errors import UserError
from vse_exp.images.features import ImageFeatures, check_rows
from vse_exp.images.pictures import PictureRows
from vse_exp.images.preprocessing import Preparation
from vse_exp.images.rows import Images
from vse_exp.schema import Size, Text
from vse_exp.split_files import SplitFiles

Places = Text | list[Text]


class Shards(Layout):
    """Shards of (image or features, captions): see conf/data/shards.yaml for the keys."""

    def __init__(
        self,
        *,
        train: Places,
        dev: Places | None = None,
        test: Places | None = None,
        image: Text | None = None,
        caption: Text | None = None,
        block: Size = 1000,
        pool: Size = 8,
        sample: Size = 20000,
    ) -> None:
        self.places = {"train": train, "dev": dev, "test": test}
        self.image, self.caption = image, caption
        self.block, self.pool, self.sample_size = block, pool, sample

    def split(
        self, name: str, preprocessing: Preparation | None, normalize: bool = False
    ) -> Split | None:
        if self.places.get(name) is None:
            return None
        return self._reader(preprocessing, normalize).read(name, self.blocks(name))

    def pools(
        self, preprocessing: Preparation | None, normalize: bool = False, seed: int = 0
    ) -> Pools:
        blocks = self.blocks("train")
        return ShardPools(
            blocks, self._reader(preprocessing, normalize), self.pool, self.sample_size, seed
        )

    def fingerprint(self, name: str) -> dict[str, Any] | None:
        if self.places.get(name) is None:
            return None
        blocks = self.blocks(name)
        last = blocks[-1]
        places = dict.fromkeys(block.place for block in blocks)
        shards = list(dict.fromkeys(Path(place).name for place in places))
        return {"shards": shards, "images of shards": last.first + last.n_images}

    def blocks(self, name: str) -> list[Block]:
        """Those of a split's shards; the first time their index is made."""
        places = self.places[name]
        assert places is not None
        return find_blocks(expand(places, name), self.block, cache_folder())

    def _reader(self, preprocessing: Preparation | None, normalize: bool) -> BlockReader:
        return BlockReader(self.image, self.caption, preprocessing, normalize)


@dataclass(frozen=True)
class BlockReader:
    """What makes a Split of blocks."""

    image: str | None
    caption: str | None
    preprocessing: Preparation | None
    normalize: bool

    def read(self, name: str, blocks: Iterable[Block]) -> Split:
        """The examples of `blocks`, one after the other. UserError where none can be used."""
        blocks = list(blocks)
        pictures = self.preprocessing is not None
        parts = [read_block(block, pictures, self.image, self.caption) for block in blocks]
        parts = [part for part in parts if part.names]
        place = blocks[0].place
        if not parts:
            raise UserError(
                f"{place} holds no image with a caption that can be read: look into it."
            )
        captions = [each for part in parts for each in part.captions]
        images, unit_norm = self._images(parts, place)
        return Split(
            name,
            [caption for each in captions for caption in each],
            np.repeat(np.arange(len(captions)), [len(each) for each in captions]),
            images,
            [name for part in parts for name in part.names],
            SplitFiles(Path(place).with_name(name), {"features": Path(place)}),
            unit_norm,
            image_numbers=np.concatenate([part.numbers for part in parts]),
        )

    def _images(self, parts: list[Examples], place: str) -> tuple[Images, bool]:
        if self.preprocessing is not None:
            held = HeldPictures(
                [name for part in parts for name in part.names],
                [content for part in parts for content in part.images],
            )
            return PictureRows.open(held, self.preprocessing, cache_bytes=0), True
        if (
            len({part.images.shape[1:] for part in parts if isinstance(part.images, np.ndarray)})
            > 1
        ):
            raise UserError(
                f"{place} and other shards hold features of different shapes: mend them."
            )
        rows = np.concatenate([part.images for part in parts])
        return ImageFeatures(rows, normalize=self.normalize), check_rows(rows, place)


@dataclass(frozen=True)
class HeldPictures:
    """Contents of pictures' files in memory."""

    names: list[str]
    contents: list[Any]

    def read(self, index: int) -> bytes:
        return self.contents[index]


class ShardPools(Pools):
    """Pools of `pool` blocks that are drawn anew for each pass, from all over the shards; where a
    pass has no more than that, it is one pool, in the order of the shards."""

    def __init__(
        self, blocks: list[Block], reader: BlockReader, pool: int, sample: int, seed: int
    ) -> None:
        self._blocks, self._reader = blocks, reader
        self._sample, self._seed = sample, seed
        self.count = max(1, round(len(blocks) / pool))
        self.n_images = blocks[-1].first + blocks[-1].n_images

    def read(self, number: int) -> Split:
        at, place = divmod(number, self.count)
        chosen = np.array_split(self._order(at), self.count)[place]
        return self._reader.read("train", [self._blocks[index] for index in chosen])

    def sample(self) -> Split:
        return self._first

    @cached_property
    def _first(self) -> Split:
        order = self._order(0)
        sizes = np.cumsum([self._blocks[index].n_images for index in order])
        enough = int(np.searchsorted(sizes, self._sample)) + 1
        chosen = order if self.count == 1 else order[:enough]
        return self._reader.read("train", [self._blocks[index] for index in chosen])

    def _order(self, at: int) -> np.ndarray:
        blocks = np.arange(len(self._blocks))
        if self.count == 1:
            return blocks
        return np.random.default_rng((self._seed, at)).permutation(blocks)
