"""The sum of hinges against loops, hand-worked numbers and numerical gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings import random_pairs
from vse_exp.errors import UserError
from vse_exp.losses import HingeLoss
from vse_exp.parts import check
from vse_exp.similarity import find_similarity


def by_loops(images, captions, ids, margin, masked=True, measure="cosine"):
    """original.md's formula, term by term."""

    def score(i, j):
        if measure == "cosine":
            return float(images[i] @ captions[j])
        pairs = zip(images[i], captions[j], strict=True)
        return -sum(max(0.0, float(caption - image)) ** 2 for image, caption in pairs)

    total = 0.0
    for i in range(len(images)):
        for j in range(len(images)):
            if i != j and not (masked and ids[i] == ids[j]):
                total += max(0.0, margin - score(i, i) + score(i, j))
                total += max(0.0, margin - score(j, j) + score(i, j))
    return total


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 9),
    seed=st.integers(0, 99),
    margin=st.sampled_from([0.05, 0.2, 1.0]),
    masked=st.booleans(),
    measure=st.sampled_from(["cosine", "order"]),
)
def test_equals_loops(n, seed, margin, masked, measure):
    images, captions, ids = random_pairs(n, seed=seed, images=max(1, n // 2))
    hinge = HingeLoss(margin=margin, mask_same_image=masked)
    hinge.use(find_similarity(measure))
    loss = hinge(images, captions, ids)
    expected = by_loops(images.detach(), captions.detach(), ids, margin, masked, measure)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_by_hand():
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    captions = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    # scores [[1, .8], [0, .6]]; image 0: .2-1+.8=0, image 1: .2-.6+0<0; caption 0: .2-1+0<0,
    # caption 1: .2-.6+.8=.4
    assert HingeLoss(margin=0.2)(images, captions).item() == pytest.approx(0.4)


def test_captions_of_one_image_are_no_negatives_unless_asked():
    images = captions = torch.ones(3, 2).div(2**0.5)
    ids = torch.tensor([4, 4, 7])
    assert HingeLoss(margin=0.2)(images, captions, ids).item() == pytest.approx(2 * 0.2 * 4)
    unmasked = HingeLoss(margin=0.2, mask_same_image=False)
    assert unmasked(images, captions, ids).item() == pytest.approx(2 * 0.2 * 6)
    assert HingeLoss(margin=0.2)(images, captions).item() == pytest.approx(2 * 0.2 * 6)


@pytest.mark.parametrize(
    ("options", "measure"), [({}, "cosine"), ({}, "order"), ({"margin": 1.0}, "cosine")]
)
def test_gradient(options, measure):
    images, captions, ids = random_pairs(5, seed=3, images=3)
    loss = HingeLoss(**options)
    loss.use(find_similarity(measure))
    assert torch.autograd.gradcheck(lambda i, c: loss(i, c, ids), (images, captions))


def test_one_item_has_no_loss_and_no_gradient():
    images, captions, ids = random_pairs(1)
    loss = HingeLoss()(images, captions, ids)
    loss.backward()
    assert loss.item() == 0
    assert not images.grad.any()
    assert not captions.grad.any()


@pytest.mark.parametrize("ncon", [1, 2, 5])
def test_ncon_negatives_a_pair_and_direction(ncon):
    """With equal scores every negative costs the margin, so the loss counts them."""
    images = captions = torch.ones(6, 2).div(2**0.5)
    loss = HingeLoss(margin=0.2, ncon=ncon)
    assert loss(images, captions).item() == pytest.approx(2 * 6 * ncon * 0.2)
    ids = torch.tensor([0, 0, 0, 0, 1, 2])  # the first four have two valid negatives only
    expected = 4 * min(2, ncon) + 2 * min(5, ncon)
    assert loss(images, captions, ids).item() == pytest.approx(2 * expected * 0.2)


def test_drawn_negatives_change_and_are_uniform():
    images, captions, ids = random_pairs(4, seed=1)
    loss = HingeLoss(margin=1.0, ncon=1)
    drawn = torch.stack([loss(images, captions, ids) for _ in range(2000)])
    whole = HingeLoss(margin=1.0)(images, captions, ids)
    assert drawn.std() > 0
    assert drawn.mean().item() == pytest.approx(whole.item() / 3, rel=0.02)


def test_draws_go_on_where_the_state_was_saved():
    images, captions, ids = random_pairs(8)
    first, second, other = (HingeLoss(ncon=2, seed=seed) for seed in (5, 5, 6))
    torch.manual_seed(0)
    a = [first(images, captions, ids).item() for _ in range(3)]
    torch.manual_seed(1)  # nothing else that draws may interfere
    assert a == [second(images, captions, ids).item() for _ in range(3)]
    assert a != [other(images, captions, ids).item() for _ in range(3)]
    resumed = HingeLoss(ncon=2)
    resumed.load_state_dict(first.state_dict())
    assert [first(images, captions, ids).item() for _ in range(3)] == [
        resumed(images, captions, ids).item() for _ in range(3)
    ]


def test_autocast_does_not_coarsen_scores():
    images, captions, ids = random_pairs(6)
    low_images, low_captions = images.bfloat16(), captions.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = HingeLoss()(low_images, low_captions, ids)
    assert loss.dtype == torch.float32
    expected = HingeLoss()(low_images.double(), low_captions.double(), ids)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0}, r"loss.margin=0 must be greater than 0"),
        ({"margin": 1.2}, "loss.margin=1.2 must be at most 1"),
        ({"margin": float("nan")}, "loss.margin=nan"),
        ({"ncon": 0}, "loss.ncon=0 must be at least 1"),
        ({"similarity": "order"}, "Unknown key loss.similarity"),
    ],
)
def test_mistakes_are_told(options, message):
    with pytest.raises(UserError, match=message):
        check({"_target_": "vse_exp.losses.HingeLoss", **options}, "loss")
