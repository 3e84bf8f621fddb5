"""What training drops of a caption's words and an image's regions; what stays moves together."""

from __future__ import annotations

import torch
from torch import Tensor

from vse_exp.text.vocabulary import FIRST_WORD, PAD, UNK, inside_mask, without_filling

MASKED, ANY = 0.5, 0.1
"""Of the words that `mix_words` drops, the shares that are masked and that become any other."""


def drop_words(tokens: Tensor, share: float) -> Tensor:
    """Replace each word by UNK with probability `share`; PAD, EOS and UNK stay."""
    drawn = torch.rand(tokens.shape, device=tokens.device) < share
    return tokens.masked_fill(drawn & (tokens >= FIRST_WORD), UNK)


def leave_out(tokens: Tensor, lengths: Tensor | None, share: float) -> tuple[Tensor, Tensor]:
    """Captions (B, T) without a share of what is between their first and last id, and lengths."""
    places = torch.arange(tokens.shape[1], device=tokens.device)
    last = tokens.shape[1] - 1 if lengths is None else lengths[:, None] - 1
    ends = (places == 0) | (places == last)
    drawn = torch.rand(tokens.shape, device=tokens.device) >= share
    return _together(tokens, _inside(tokens, lengths) & (ends | drawn))


def mix_words(
    tokens: Tensor, lengths: Tensor | None, share: float, mask: int
) -> tuple[Tensor, Tensor]:
    """Captions (B, T) of which a share of the ids, the marks among them, is dropped, and lengths.

    Half of those become `mask`, the highest id of all, a tenth any id, and the rest is removed
    (the program of Chen et al. 2021); a caption keeps its first where nothing would be left.
    """
    drawn = torch.rand(tokens.shape, device=tokens.device) / share
    others = torch.randint(PAD + 1, mask + 1, tokens.shape, device=tokens.device)
    mixed = torch.where(drawn < MASKED + ANY, others, tokens).masked_fill(drawn < MASKED, mask)
    kept = _inside(tokens, lengths) & ((drawn < MASKED + ANY) | (drawn >= 1))
    kept[:, 0] |= ~kept.any(1)
    return _together(mixed, kept)


def drop_regions(regions: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Each image's vectors (B, n, d), each dropped with probability `share`, and how many stay.

    Behind those are zeros, which a batch's statistics count, up to the most that an image has
    (the program of Chen et al. 2021), or on a GPU, which would have to be asked, up to n. One
    stays.
    """
    drawn = torch.rand(regions.shape[:2], device=regions.device)
    kept = (drawn >= share) | (drawn == drawn.amax(1, keepdim=True))
    left, lengths = _together(regions, kept)
    return left.masked_fill(~inside_mask(left, lengths)[..., None], 0.0), lengths


def _inside(tokens: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    return inside_mask(tokens, lengths)


def _together(rows: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Of `rows` (B, T, ...) those `kept` (B, T), moved to the front, and their number (B,)."""
    lengths = kept.sum(1)
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)
    order = without_filling(order, lengths)
    return rows[torch.arange(len(rows), device=rows.device)[:, None], order], lengths
