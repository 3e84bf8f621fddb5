"""Which picture belongs to which split, where the annotations do not say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vse_exp.data.annotations.records import Annotations
from vse_exp.errors import UserError


def assign_lists(annotations: Annotations, split_of: Mapping[str, str]) -> list[str]:
    """Put pictures into the splits of lists; pictures in no list are left out and returned.

    UserError where a list names no picture that has captions.
    """
    if not split_of.keys() & annotations.captions.keys():
        raise UserError(
            f"None of the {len(split_of)} pictures of the split lists has captions (first: "
            f"{next(iter(split_of))}): they belong to other annotations."
        )
    annotations.splits = {name: split_of.get(name) for name in annotations}
    return leave_out_unassigned(annotations)


def leave_out_unassigned(annotations: Annotations) -> list[str]:
    """Forget the pictures that are in no split; their names are returned."""
    left_out = [name for name in annotations if annotations.splits[name] is None]
    annotations.keep(set(annotations) - set(left_out))
    return left_out


def assign_fractions(annotations: Annotations, fractions: Mapping[str, float], seed: int) -> None:
    """Draw pictures for each split of `fractions`, one at least; the rest is `train`.

    The draw depends on the set of names and the seed, not on the order in the file.
    """
    shares = {name: float(share) for name, share in fractions.items()}
    if any(not 0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise UserError(
            f"fractions={shares} must each lie in [0, 1) and leave something for train."
        )
    names = sorted(annotations)
    drawn = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    counts = {name: max(1, round(share * len(names))) for name, share in shares.items() if share}
    if sum(counts.values()) >= len(names):
        raise UserError(
            f"{len(names)} pictures are too few for {', '.join(counts)} and something to train on."
        )
    annotations.splits = dict.fromkeys(annotations, "train")
    for split, count in counts.items():
        for name in drawn[:count]:
            annotations.splits[name] = split
        del drawn[:count]
