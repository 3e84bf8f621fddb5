"""Several models as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vse_exp.errors import UserError


def concatenate_ensemble(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Rows (n, d1 + d2 + …) of M models' rows whose scores are the mean of the models' scores.

    The inner product of rows joined and scaled by `1 / sqrt(M)` is the mean of M inner products
    (and so for order violations), so an ensemble is ranked like one model, in chunks.
    Use it on both sides. UserError where the models embedded different numbers of items.
    """
    sizes = {len(rows) for rows in embeddings}
    if len(sizes) != 1:
        raise UserError(f"An ensemble needs rows for the same items, and got {sorted(sizes)}.")
    if len(embeddings) == 1:
        return np.asarray(embeddings[0])
    scale = np.float32(len(embeddings) ** -0.5)
    joined = np.concatenate([np.asarray(rows, np.float32) for rows in embeddings], axis=1)
    joined *= scale
    return joined
