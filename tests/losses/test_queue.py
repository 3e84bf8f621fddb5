"""The queue of past embeddings against a list that is kept by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings import random_pairs
from vse_exp.errors import UserError
from vse_exp.losses import (
    HardestHingeLoss,
    HingeLoss,
    InfoNCELoss,
    QueuedLoss,
    SigmoidLoss,
    WeightedSum,
)
from vse_exp.parts import check

LOSSES = [HingeLoss, HardestHingeLoss, InfoNCELoss, SigmoidLoss]


def hinge_with_past(images, captions, ids, past, margin=0.2):
    """Sum of hinges where `past` is a list of (image, caption, id)."""
    images, captions = images.detach(), captions.detach()
    loss = HingeLoss(margin=margin)(images, captions, ids).item()
    for image, caption, own in zip(images, captions, ids, strict=True):
        right = float(image @ caption)
        for old_image, old_caption, old in past:
            if old != own:
                loss += max(0.0, margin - right + float(image @ old_caption))
                loss += max(0.0, margin - right + float(old_image @ caption))
    return loss


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 12), batches=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_negatives_are_the_batch_and_the_last_pairs_of_earlier_ones(size, batches):
    queue, past = QueuedLoss(loss=HingeLoss(), size=size), []
    for number, n in enumerate(batches):
        images, captions, ids = random_pairs(n, seed=number, images=5)
        expected = hinge_with_past(images, captions, ids, past)
        assert queue(images, captions, ids).item() == pytest.approx(expected, abs=1e-9)
        past = [*past, *zip(images.detach(), captions.detach(), ids, strict=True)][-size:]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_flows_through_the_batch_alone(loss):
    queue = QueuedLoss(loss=loss(), size=7).double()
    queue(*random_pairs(4, seed=0)).backward()
    images, captions, ids = random_pairs(4, seed=1)
    queue(images, captions, ids).backward()  # the rows it needs are still as they were
    past = queue.past()
    assert past is not None
    assert len(past.image_ids) == 4
    plain = loss().double()
    assert torch.autograd.gradcheck(lambda i, c: plain(i, c, ids, past), (images, captions))


@pytest.mark.parametrize("loss", LOSSES)
def test_more_negatives_cost_more(loss):
    queue = QueuedLoss(loss=loss(), size=20)
    queue(*random_pairs(10, seed=0))
    batch = random_pairs(4, seed=1)
    assert queue(*batch).item() > loss()(*batch).item()


@pytest.mark.parametrize("updates", [1, 2, 5])
def test_a_resumed_queue_goes_on_bit_for_bit(updates):
    """Also in float32, where the order of the rows would show."""

    def batch(seed):
        images, captions, ids = random_pairs(5, seed=seed)
        return images.float(), captions.float(), ids

    queue = QueuedLoss(loss=HingeLoss(), size=12)
    for seed in range(updates):
        queue(*batch(seed))
    resumed = QueuedLoss(loss=HingeLoss(), size=12)
    resumed.load_state_dict(queue.state_dict())
    for seed in range(10, 16):
        assert queue(*batch(seed)).item() == resumed(*batch(seed)).item()


def test_a_state_without_rows_loads():
    queue = QueuedLoss(loss=HingeLoss())
    queue.load_state_dict(QueuedLoss(loss=HingeLoss()).state_dict())
    assert queue.past() is None


def test_it_is_used_from_its_first_step_and_tells_its_loss_of_progress():
    hardest = HardestHingeLoss(warmup_epochs=1, warmup="switch")
    queue = QueuedLoss(
        loss=WeightedSum(losses={"a": hardest}, weights={"a": 1.0}), size=8, start_step=3
    )
    queue(*random_pairs(8, seed=0))
    batch = random_pairs(4, seed=1)
    queue.set_progress(2, 1.0)
    assert hardest.weight == 1
    plain = HardestHingeLoss()(*batch).item()
    assert queue(*batch).item() == pytest.approx(plain)
    queue.set_progress(3, 1.0)
    assert queue(*batch).item() > plain


def test_mistakes_are_told():
    node = {"_target_": "vse_exp.losses.QueuedLoss", "size": 0}
    with pytest.raises(UserError, match=r"loss.size=0 must be at least 1"):
        check({**node, "loss": {"_target_": "vse_exp.losses.HingeLoss"}}, "loss")
