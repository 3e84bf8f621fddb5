"""Training batches of pictures: each picture once, whatever number of captions it has there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vse_exp.data.buckets import LengthBuckets
from vse_exp.data.layouts import Split
from vse_exp.data.loading import pair_loader
from vse_exp.data.scenes.drawn import DrawnPictures
from vse_exp.data.scenes.sampling import scene_name
from vse_exp.images.augmentation import Augmentation
from vse_exp.images.pictures import PictureRows
from vse_exp.images.preprocessing import Preprocessing
from vse_exp.split_files import SplitFiles
from vse_exp.text.vocabulary import Vocabulary

IMAGES, EACH = 6, 5


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> Split:
    names = [scene_name(0, "train", number) for number in range(IMAGES)]
    rows = PictureRows.open(DrawnPictures(names), Preprocessing(resize=16, crop=16))
    captions = [f"a red star {number}" for number in range(IMAGES * EACH)]
    files = SplitFiles(tmp_path_factory.mktemp("none") / "none")
    return Split("train", captions, np.arange(IMAGES * EACH) // EACH, rows, names, files, True)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_a_picture_is_read_once_a_batch(split, together, monkeypatch):
    read: list[int] = []
    rows = PictureRows.rows

    def counted(self, indices):
        read.extend(indices)
        return rows(self, indices)

    monkeypatch.setattr(PictureRows, "rows", counted)
    captions = Vocabulary.build(split.captions).encode(split.captions)
    sampler = LengthBuckets(captions.lengths, split.caption_image, 10, captions_together=together)
    seen: list[int] = []
    for batch in pair_loader(split, captions, sampler):
        assert batch.image_row is not None
        wanted = batch.image_index.unique()
        assert sorted(read) == wanted.tolist()
        assert len(batch.images) == len(wanted)
        read.clear()
        expected = rows(split.image_features, batch.image_index.numpy())
        assert torch.equal(batch.images[batch.image_row], expected)
        seen += batch.caption_index.tolist()
    assert sorted(seen) == list(range(IMAGES * EACH))


def test_captions_of_a_picture_see_it_alike(split):
    """One augmented view a batch, and another one in the next epoch."""
    varied = split.image_features.training(Augmentation(scale=0.5), seed=0)
    split = replace(split, image_features=varied)
    captions = Vocabulary.build(split.captions).encode(split.captions)
    sampler = LengthBuckets(captions.lengths, split.caption_image, 10, captions_together=5)
    loader = pair_loader(split, captions, sampler)
    views = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches = list(loader)
        assert [len(batch.images) for batch in batches] == [2, 2, 2]
        index = torch.cat([batch.image_index.unique() for batch in batches])
        views.append(torch.cat([batch.images for batch in batches])[index.argsort()])
    assert not torch.equal(*views)


@pytest.mark.parametrize("together", [1, 5])
def test_pictures_look_different_each_epoch_where_one_batch_holds_all(split, together):
    varied = split.image_features.training(Augmentation(scale=0.5), seed=0)
    split = replace(split, image_features=varied)
    captions = Vocabulary.build(split.captions).encode(split.captions)
    sampler = LengthBuckets(captions.lengths, split.caption_image, 90, captions_together=together)
    views = set()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for batch in pair_loader(split, captions, sampler):
            first = int((batch.image_index == 0).nonzero()[0])
            views.add(batch.images[batch.image_row][first].numpy().tobytes())
    assert len(views) == 3
