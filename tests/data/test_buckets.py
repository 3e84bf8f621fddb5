from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vse_exp.data.buckets import LengthBuckets
from vse_exp.errors import UserError


def sampler(n: int, seed: int, **options) -> LengthBuckets:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 6, n)
    images = random.integers(0, max(1, n // 3), n)
    return LengthBuckets(lengths, images, options.pop("batch_size", 4), seed=seed, **options)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 80),
    seed=st.integers(0, 5),
    width=st.integers(1, 3),
    batch_size=st.integers(1, 9),
    order=st.sampled_from(["shuffle", "round_robin"]),
    unique=st.booleans(),
    world_size=st.integers(1, 3),
)
def test_each_caption_once_one_bucket_a_batch(
    n, seed, width, batch_size, order, unique, world_size
):
    unique = unique and order == "shuffle"
    options = {
        "batch_size": batch_size,
        "bucket_width": width,
        "order": order,
        "unique_images": unique,
    }
    whole = sampler(n, seed, **options)
    parts = [
        sampler(n, seed, rank=rank, world_size=world_size, **options) for rank in range(world_size)
    ]
    assert len({len(part) for part in parts}) == 1
    seen: Counter[int] = Counter()
    for shares in zip(*parts, strict=True):
        batch = np.concatenate(shares)
        seen.update(batch.tolist())
        assert len(batch) <= batch_size * world_size
        assert len(set(whole.buckets[batch].tolist())) == 1
        if unique:
            assert len(set(whole.caption_image[batch].tolist())) == len(batch)
    assert seen == Counter(range(n))


def test_epochs_differ_and_repeat():
    first, again = sampler(60, 3), sampler(60, 3)
    epoch0 = [batch.tolist() for batch in first]
    assert epoch0 == [batch.tolist() for batch in again]
    first.set_epoch(1)
    epoch1 = [batch.tolist() for batch in first]
    assert epoch1 != epoch0
    again.set_epoch(1)
    again.start = 3
    assert [batch.tolist() for batch in again] == epoch1[3:]


def test_round_robin_takes_full_batches_then_what_is_left():
    lengths = np.repeat([3, 5], [5, 9])
    images = np.arange(14)
    batches = list(
        LengthBuckets(lengths, images, 4, bucket_width=1, unique_images=False, order="round_robin")
    )
    sizes = {3: [], 5: []}
    turns = []
    for batch in batches:
        length = int(lengths[batch[0]])
        sizes[length].append(len(batch))
        turns.append(length)
    assert sizes == {3: [4, 1], 5: [4, 4, 1]}
    assert turns[:4] in ([3, 5, 3, 5], [5, 3, 5, 3])
    assert turns[4:] == [5]


def test_captions_per_epoch():
    images = np.repeat(np.arange(10), 5)
    lengths = np.random.default_rng(0).integers(1, 4, 50)
    buckets = LengthBuckets(lengths, images, 4, captions_per_image=2, seed=1)
    drawn = np.concatenate(list(buckets))
    assert np.bincount(images[drawn]).tolist() == [2] * 10
    assert len(set(drawn.tolist())) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "sorted"}, "Unknown data.order 'sorted'"),
        ({"batch_size": 0}, "data.batch_size is 0"),
        ({"bucket_width": 0}, "data.bucket_width is 0"),
        ({"captions_per_image": 0}, "data.captions_per_epoch is 0"),
        ({"bucket_width": 1, "captions_together": 2}, "set data.captions_together=1"),
        ({"order": "round_robin"}, "data.unique_images=true needs data.order=shuffle"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        sampler(5, 0, **options)


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(1, 20),
    each=st.integers(1, 6),
    together=st.integers(2, 4),
    seed=st.integers(0, 5),
    world_size=st.integers(1, 2),
)
def test_captions_of_an_image_together(images, each, together, seed, world_size):
    caption_image = np.random.default_rng(seed).permutation(np.repeat(np.arange(images), each))
    made = [
        LengthBuckets(
            np.ones(images * each),
            caption_image,
            8,
            captions_together=together,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        for rank in range(world_size)
    ]
    batches = [np.concatenate(parts) for parts in zip(*made, strict=True)]
    everything = np.concatenate(batches)
    assert sorted(everything) == list(range(images * each))
    for batch in batches:
        counts = Counter(caption_image[batch].tolist())
        assert set(counts.values()) <= {min(together, each), each % together}
    made[0].set_epoch(1)
    if images * each > 8:
        assert [list(b) for b in made[0]] != [list(b[::world_size]) for b in batches]


def test_batches_of_captions_together_are_nearly_even():
    caption_image = np.repeat(np.arange(600), 5)
    sampler = LengthBuckets(np.ones(3000), caption_image, 250, captions_together=2, seed=0)
    sizes = [len(batch) for batch in sampler]
    assert len(sizes) == 12  # a multiple of the three groups of an image
    assert max(sizes) <= 280
