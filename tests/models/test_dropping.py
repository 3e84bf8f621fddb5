"""What training drops of words and regions."""

from __future__ import annotations

import torch

from vse_exp.models.dropping import drop_regions, mix_words

MASK = 9


def test_mixed_words_are_masked_exchanged_or_removed() -> None:
    """Half, a tenth and the rest of a share of 0.2, the first and last among them."""
    torch.manual_seed(0)
    tokens = torch.tensor([[3, 4, 5, 1]]).repeat(20_000, 1)
    mixed, lengths = mix_words(tokens, None, 0.2, MASK)
    assert abs(float((4 - lengths).sum()) / tokens.numel() - 0.2 * 0.4) < 0.005
    inside = torch.arange(4) < lengths[:, None]
    # a tenth becomes any id but that which fills, the masked one's too
    assert (
        abs(float((mixed == MASK)[inside].sum()) / tokens.numel() - 0.2 * (0.5 + 0.1 / 9)) < 0.005
    )
    others = ~torch.isin(mixed, torch.tensor([3, 4, 5, 1, MASK])) & inside
    assert abs(float(others.sum()) / tokens.numel() - 0.2 * 0.1 * 4 / 9) < 0.003
    assert set(mixed[inside].tolist()) == set(range(1, MASK + 1))
    whole = mixed[(lengths == 4) & ~(mixed == MASK).any(1)]
    assert (whole == tokens[: len(whole)]).float().mean() > 0.95  # those that stay keep their order


def test_mixed_words_leave_filling_alone_and_one_word() -> None:
    torch.manual_seed(0)
    tokens = torch.tensor([[3, 4, 1, 0], [3, 1, 0, 0]]).repeat(500, 1)
    sizes = torch.tensor([3, 2]).repeat(500)
    mixed, lengths = mix_words(tokens, sizes, 0.99, MASK)
    assert lengths.min() == 1
    assert (lengths <= sizes).all()
    assert (mixed[torch.arange(mixed.shape[1]) < lengths[:, None]] > 0).all()


def test_regions_are_dropped_one_by_one_and_zeros_stand_behind() -> None:
    torch.manual_seed(0)
    regions = torch.arange(1.0, 6.0)[:, None].expand(10_000, 5, 3)
    left, lengths = drop_regions(regions, 0.2)
    assert left.shape[1] == lengths.max() == 5
    assert abs(float(lengths.float().mean()) - 4) < 0.05
    assert abs(float((lengths == 3).float().mean()) - 10 * 0.8**3 * 0.2**2) < 0.02
    inside = torch.arange(5) < lengths[:, None]
    assert (left[~inside] == 0).all()
    assert (left.diff(dim=1)[inside[:, 1:]] > 0).all()  # in their order, each once


def test_a_region_stays_and_the_batch_is_as_wide_as_its_largest_set() -> None:
    torch.manual_seed(0)
    left, lengths = drop_regions(torch.ones(50, 4, 3), 0.99)
    assert lengths.min() == 1
    assert left.shape[1] == lengths.max() < 4
