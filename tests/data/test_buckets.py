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


def bucket_of(made: LengthBuckets, batch: np.ndarray) -> np.ndarray:
    return (made.lengths[batch] - 1) // (made.bucket_width or 1000)


def whole_batches(make, world_size: int) -> list[np.ndarray]:
    """Of all processes together; each has as many."""
    parts = [list(make(rank)) for rank in range(world_size)]
    assert len({len(part) for part in parts}) == 1
    return [np.concatenate(shares) for shares in zip(*parts, strict=True)]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 80),
    seed=st.integers(0, 5),
    width=st.sampled_from([1, 2, 3, None]),
    batch_size=st.integers(1, 9),
    order=st.sampled_from(["shuffle", "round_robin"]),
    unique=st.booleans(),
    world_size=st.integers(1, 3),
)
def test_each_caption_once_one_bucket_a_batch(
    n, seed, width, batch_size, order, unique, world_size
):
    unique = unique and order == "shuffle"

    def make(rank=0):
        return sampler(
            n,
            seed,
            batch_size=batch_size,
            bucket_width=width,
            order=order,
            unique_images=unique,
            rank=rank,
            world_size=world_size,
        )

    batches, made = whole_batches(make, world_size), make()
    assert Counter(np.concatenate(batches).tolist()) == Counter(range(n))
    for batch in batches:
        assert len(batch) <= batch_size * world_size
        if unique:
            assert len(set(made.caption_image[batch].tolist())) == len(batch)
        if width == 1 or order == "round_robin":
            assert len(set(bucket_of(made, batch).tolist())) == 1
    if order == "shuffle" and width != 1:
        check_joined(made, bucket_of(made, np.arange(n)), batch_size * world_size, batches)


def check_joined(made, bucket: np.ndarray, size: int, batches: list[np.ndarray]) -> None:
    """Captions that share a batch are of one bucket, or of neighbouring ones too small for one."""
    whole, current = [], []  # by hand: from the shortest on, until there are enough
    for value in sorted(set(bucket.tolist())):
        current.append(value)
        if np.isin(bucket, current).sum() >= size:
            whole.append(current)
            current = []
    if current:
        whole = [*whole[:-1], (whole[-1] if whole else []) + current]
    for batch in batches:
        values = set(bucket[batch].tolist())
        assert any(values <= set(together) for together in whole)


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
        ({"unique_images": False, "captions_together": 2}, "needs data.unique_images=true"),
        ({"order": "uniform", "unique_images": False, "bucket_width": 1}, "mixes lengths"),
        ({"drop_last": True}, "data.drop_last=true needs data.order=uniform"),
        ({"order": "round_robin"}, "data.unique_images=true needs data.order=shuffle"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError, match=message):
        sampler(5, 0, **options)


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 20),
    each=st.integers(1, 6),
    together=st.integers(2, 4),
    width=st.sampled_from([None, 1, 2, 5]),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 5),
    world_size=st.integers(1, 3),
)
def test_captions_of_an_image_together(images, each, together, width, batch_size, seed, world_size):
    random = np.random.default_rng(seed)
    caption_image = random.permutation(np.repeat(np.arange(images), each))
    lengths = random.integers(1, 12, len(caption_image))

    def make(rank=0):
        return LengthBuckets(
            lengths,
            caption_image,
            batch_size,
            bucket_width=width,
            captions_together=together,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    batches = whole_batches(make, world_size)
    assert sorted(np.concatenate(batches)) == list(range(images * each))
    longest = np.zeros(images * each, dtype=int)
    for batch in batches:
        assert len(batch) > 0
        for image, count in Counter(caption_image[batch].tolist()).items():
            assert count in {min(together, each), each % together}
            group = batch[caption_image[batch] == image]
            longest[group] = lengths[group].max()
    if width:
        check_joined(make(), (longest - 1) // width, batch_size * world_size, batches)
        check_neighbours(lengths, caption_image, batches)


def check_neighbours(lengths, caption_image, batches: list[np.ndarray]) -> None:
    """No caption of an image lies, by its length, inside a group that it is not in."""
    for batch in batches:
        for image in set(caption_image[batch].tolist()):
            group = batch[caption_image[batch] == image]
            others = np.setdiff1d(np.flatnonzero(caption_image == image), group)
            inside = lengths[group].min() < lengths[others]
            assert not (inside & (lengths[others] < lengths[group].max())).any()


@pytest.mark.parametrize("width", [None, 4])
def test_other_captions_together_every_epoch(width):
    caption_image = np.repeat(np.arange(40), 5)
    lengths = np.random.default_rng(0).permutation(200) % 23 + 1
    made = LengthBuckets(lengths, caption_image, 32, bucket_width=width, captions_together=2)
    pairs, alone = set(), Counter()
    for epoch in range(30):
        made.set_epoch(epoch)
        for batch in made:
            for image in set(caption_image[batch].tolist()):
                group = batch[caption_image[batch] == image].tolist()
                pairs.add(frozenset(group))
                if len(group) == 1:
                    alone[sorted(np.flatnonzero(caption_image == image)).index(group[0])] += 1
    of_two = sum(len(group) == 2 for group in pairs)
    # by length: four of the ten pairs of five are neighbours (more where lengths are equal)
    assert of_two == 400 if width is None else 4 * 40 <= of_two < 400
    assert sum(alone.values()) == 30 * 40


def test_batches_of_captions_together_are_nearly_even():
    caption_image = np.repeat(np.arange(600), 5)
    sampler = LengthBuckets(np.ones(3000), caption_image, 250, captions_together=2, seed=0)
    sizes = [len(batch) for batch in sampler]
    assert len(sizes) == 12  # a multiple of the three groups of an image
    assert max(sizes) <= 280


def test_neighbouring_lengths_need_less_padding():
    """Lengths as captions have them: of a padded batch, four fifths are words, and not two."""
    random = np.random.default_rng(0)
    lengths = 3 + random.negative_binomial(6, 0.4, 15000)
    images = np.arange(15000) // 5

    def share(**options) -> float:
        batches = list(LengthBuckets(lengths, images, 512, captions_together=2, **options))
        return lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in batches)

    assert share(bucket_width=4) > 0.75
    assert share() < 0.55


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 3),
    drop_last=st.booleans(),
)
def test_uniform_batches_are_full_but_the_last(n, batch_size, world_size, drop_last):
    def make(rank=0):
        return sampler(
            n,
            0,
            batch_size=batch_size,
            order="uniform",
            unique_images=False,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )

    size = batch_size * world_size
    if drop_last and n < size:
        with pytest.raises(UserError, match="=true leaves out all"):
            len(make())
        return
    batches = whole_batches(make, world_size)
    rest = [n % size] if n % size and not drop_last else []
    assert [len(batch) for batch in batches] == [size] * (n // size) + rest
    seen = np.concatenate(batches)
    assert len(set(seen.tolist())) == len(seen) == n - (n % size if drop_last else 0)


def test_uniform_order_is_uniform():
    """Two captions of an image meet as often as chance has it."""
    images = np.arange(400) // 2
    made = LengthBuckets(np.ones(400), images, 20, unique_images=False, order="uniform")
    meetings = 0
    for epoch in range(50):
        made.set_epoch(epoch)
        meetings += sum(len(batch) - len(set(images[batch])) for batch in made)
    assert meetings / 50 == pytest.approx(200 * 19 / 399, rel=0.1)
